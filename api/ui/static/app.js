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
