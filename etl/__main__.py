"""`python -m etl`: the command line."""

import gc

gc.disable()  # imports create hardly any garbage; `resume_collection` enables it for the work

from etl.cli.main import main

try:
    main()
finally:
    gc.freeze()  # at exit, the interpreter would search all imported modules for garbage
