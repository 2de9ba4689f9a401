"""`completion`: scripts with which bash, zsh and fish complete our commands.

A script asks the program itself, by the protocol of click, so it stays as it is when commands
change. `run.sh` is a common name, so its completion first checks that it is ours.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from etl.cli.common import InOrder
from etl.runtime.program import program

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "_BUCKETLINE_COMPLETE"  # also in run.sh
LAUNCHER = "run.sh"
INSTALLED = "bucketline"
# The commands that run.sh has in addition; see its help.
_LAUNCHER_COMMANDS = {
    "test": "Run the tests; ARGUMENTS are those of pytest.",
    "lint": "Run ruff, mypy and import-linter.",
    "bench": "Measure performance against targets and baselines.",
    "secrets": "Write passwords for docker compose into .env.",
}

_BASH = """\
{function}() {{
    local called=${{1/#\\~\\//$HOME/}} line kind value
    {check_bash}
    COMPREPLY=()
    while IFS= read -r line; do
        kind=${{line%%,*}} value=${{line#*,}}
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_WORDS="${{COMP_WORDS[*]}}" COMP_CWORD=$COMP_CWORD {variable}=bash_complete \\
        "$called" 2>/dev/null)
}}
complete -o nosort -o bashdefault -o default -F {function} {name}
"""

_ZSH = """\
#compdef {name}
{function}() {{
    local called=${{~words[1]}} kind key descr
    local -a lines described
    {check_zsh}
    lines=("${{(@f)$(COMP_WORDS="${{words[*]}}" COMP_CWORD=$((CURRENT-1)) {variable}=zsh_complete \\
        "$called" 2>/dev/null)}}")
    for kind key descr in "${{lines[@]}}"; do
        case $kind in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain) described+=("${{key//:/\\\\:}}:${{descr:#_}}") ;;
        esac
    done
    (( $#described )) && _describe -V commands described -U
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    {function} "$@"
else
    compdef {function} {name}
fi
"""

_FISH = """\
function {function}
    set -l words (commandline -opc)
    set -l called (string replace -r '^~/' "$HOME/" -- $words[1])
    {check_fish}
    set -l lines (env {variable}=fish_complete COMP_WORDS=(commandline -cp | string collect) \\
        COMP_CWORD=(commandline -t | string collect) $called 2>/dev/null)
    for line in $lines
        set -l parts (string split -m 1 , -- $line)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case plain
                echo $parts[2]
        end
    end
end
complete --no-files --command {name} --arguments "({function})"
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


class Commands(InOrder):
    """The top level of commands; through run.sh, completion adds those of the launcher."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names that begin with the word, and their help."""
        found = super().shell_complete(ctx, incomplete)
        if _is_launcher():
            found += [
                CompletionItem(name, help=text)
                for name, text in _LAUNCHER_COMMANDS.items()
                if name.startswith(incomplete)
            ]
        return found


@click.command("completion")
@click.argument("shell", metavar="SHELL", type=click.Choice(list(_SCRIPTS)))
def completion_command(*, shell: str) -> None:
    """Print a script for completion in bash, zsh or fish.

    For bash, add to ~/.bashrc: eval "$(./run.sh completion bash)", with the path of run.sh. For
    zsh, the same with zsh in ~/.zshrc, after compinit. For fish, write the script into
    ~/.config/fish/completions/run.sh.fish.
    """
    click.echo(script(shell), nl=False)


def script(shell: str) -> str:
    """The script for the program as it was called."""
    name, checks = INSTALLED, dict.fromkeys(_SCRIPTS, ":")
    if _is_launcher():
        name, ours = LAUNCHER, shlex.quote(str(Path(LAUNCHER).resolve()))
        checks = {
            "bash": f"[[ $called -ef {ours} ]] || return",
            "zsh": f"[[ $called -ef {ours} ]] || return 1",
            "fish": f"test (path resolve -- $called) = {ours}; or return",
        }
    return _SCRIPTS[shell].format(
        function=f"_{name.replace('.', '_')}_completion",
        name=name,
        variable=VARIABLE,
        **{f"check_{one}": check for one, check in checks.items()},
    )


def _is_launcher() -> bool:
    """Whether run.sh started the program, which is then in its folder."""
    return Path(program()).name == LAUNCHER


def file_names(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> Sequence[CompletionItem]:
    """The files and folders, which the shell knows."""
    return [CompletionItem(incomplete, type="file")]


def dataset_names(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> Sequence[CompletionItem]:
    """The names of the datasets in the datasets file, which needs no database."""
    from etl.model.errors import EtlError
    from etl.settings import read_settings
    from etl.settings.declared import file_datasets

    try:
        known = [one.name for one in file_datasets(read_settings()) or ()]
    except EtlError:
        known = []
    return [CompletionItem(name) for name in known or ["users"] if name.startswith(incomplete)]
