// What pages do with a script: all of it also works without one.
"use strict";

(() => {
  const token = document.querySelector('meta[name="csrf-token"]').content;

  // Panels stop while their tab is hidden, and load at once when it is shown again.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.closest("[data-version]")) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) htmx.trigger(document.body, "resume");
  });

  // A panel names the version it shows; the response is 304 as long as nothing has changed.
  document.addEventListener("htmx:configRequest", (event) => {
    const { headers, elt, verb } = event.detail;
    if (elt.dataset.version) headers["If-None-Match"] = `"${elt.dataset.version}"`;
    if (verb !== "get") headers["X-CSRF-Token"] = token;
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.status === 304) event.detail.shouldSwap = false;
  });

  // A screen reader hears the sentence only when it has changed.
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (target.textContent === fragment.textContent) event.detail.shouldSwap = false;
  });

  // What a page shows is old while the dashboard does not answer; the page says so.
  document.addEventListener("htmx:sendError", () => {
    if (document.getElementById("stale")) return;
    const note = document.createElement("p");
    note.id = "stale";
    note.className = "alert";
    note.setAttribute("role", "alert");
    const time = new Date().toISOString().slice(11, 19);
    note.textContent = `The dashboard has not answered since ${time} UTC. This page shows what was before.`;
    document.getElementById("main").prepend(note);
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) document.getElementById("stale")?.remove();
  });

  // A button that copies, next to each line that is meant to be copied.
  const addCopyButtons = (root) => {
    if (!navigator.clipboard) return;
    for (const line of root.querySelectorAll("code.copy")) {
      if (line.nextElementSibling?.classList.contains("copier")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "plain copier";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(line.textContent);
        button.textContent = "Copied";
      });
      line.after(button);
    }
  };
  addCopyButtons(document);
  document.addEventListener("htmx:afterSwap", (event) => addCopyButtons(event.target));
})();
