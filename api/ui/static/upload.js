// Uploads with a script: a file that is dropped or chosen is checked, then sent with its progress.
"use strict";

(() => {
  const area = document.getElementById("upload");
  if (!area) return;
  const form = area.querySelector("form");
  const input = form.querySelector('input[type="file"]');
  const shown = document.getElementById("checked");
  const token = document.querySelector('meta[name="csrf-token"]').content;
  const headers = { "X-CSRF-Token": token, Accept: "application/problem+json, text/html;q=0.5, application/json;q=0.5" };

  // Only the last file counts: a check that ends later is not shown.
  let file = null;

  const keyOf = () => area.dataset.key || (form.elements.prefix?.value ?? "") + file.name;
  const escaped = (key) => key.split("/").map(encodeURIComponent).join("/");

  const say = (text, look = "") => {
    const note = document.createElement("p");
    note.className = `alert ${look}`;
    note.setAttribute("role", look ? "status" : "alert");
    note.textContent = text;
    shown.replaceChildren(note);
    return note;
  };

  const reasonOf = (text, status) => {
    try {
      const { detail, hint } = JSON.parse(text);
      return [detail, hint].filter(Boolean).join(" ");
    } catch {
      return `The server answered with status ${status}.`;
    }
  };

  const addButton = (place, label, act = upload, look = "main") => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = look;
    button.textContent = label;
    button.addEventListener("click", () => act());
    place.append(button);
  };

  const check = async () => {
    const checked = file;
    if (file.size > Number(area.dataset.mostChecked)) {
      addButton(say("The file is too large to be checked here.", "warn"), "Upload without a check");
      return;
    }
    say(`Checking ${file.name}.`, "run");
    const url = `${area.dataset.check}&key=${encodeURIComponent(keyOf())}`;
    let response, text;
    try {
      // Without a type of its own: a form would be read as one.
      const body = new Blob([file], { type: "application/octet-stream" });
      response = await fetch(url, { method: "POST", headers, body });
      text = await response.text();
    } catch {
      if (file === checked) say("The dashboard does not answer, so the file was not checked.");
      return;
    }
    if (file !== checked) return;
    if (!response.ok) {
      const note = say(reasonOf(text, response.status));
      if (response.status === 422 || response.status === 503) addButton(note, "Upload without a check");
      return;
    }
    const page = new DOMParser().parseFromString(text, "text/html");
    shown.replaceChildren(...page.body.children);
    const place = shown.querySelector("[data-uploads]");
    if (place) {
      addButton(place, place.dataset.uploads.trim());
      addButton(place, "Choose another file", () => input.click(), "");
    }
    shown.scrollIntoView({ block: "nearest" });
  };

  const send = (url, given, done, failed) => {
    const bar = document.createElement("progress");
    bar.max = file.size || 1;
    bar.value = 0;
    bar.setAttribute("aria-label", "Uploaded");
    const note = say(`Uploading ${file.name}. `, "run");
    note.append(bar);
    const request = new XMLHttpRequest();
    request.open("PUT", url);
    for (const [name, value] of Object.entries(given)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => { bar.value = event.loaded; });
    request.addEventListener("load", () => (request.status < 300 ? done(request) : failed(request)));
    request.addEventListener("error", () => failed(request));
    request.send(file);
  };

  const refuse = (request) =>
    say(request.status ? reasonOf(request.responseText, request.status) : "The connection broke, so the file was not uploaded.");

  const sendHere = () =>
    send(`${area.dataset.uploadTo}/${escaped(keyOf())}`, headers, (request) => location.assign(JSON.parse(request.responseText).url), refuse);

  // To the store itself, if browsers can reach it; else through the dashboard.
  const upload = async () => {
    if (!area.dataset.presign) return sendHere();
    const url = area.dataset.presign.replace(/-$/, () => escaped(keyOf()));
    const response = await fetch(url, { method: "POST", headers });
    if (!response.ok) return sendHere();
    const found = await response.json();
    send(found.upload_url, {}, () => location.assign(found.url), sendHere);
  };

  const choose = (chosen) => {
    if (!chosen) return;
    file = chosen;
    check();
    shown.scrollIntoView({ block: "nearest" });
  };

  form.querySelector(".actions").remove(); // the report has the button
  form.addEventListener("submit", (event) => event.preventDefault());
  input.addEventListener("change", () => {
    choose(input.files[0]);
    input.value = ""; // so that the same file can be chosen again once it is fixed
  });
  for (const link of document.querySelectorAll('a[href="#upload"]')) {
    link.addEventListener("click", (event) => { event.preventDefault(); input.click(); });
  }
  form.elements.prefix?.addEventListener("change", () => { if (file) check(); });

  const hint = document.createElement("p");
  hint.className = "hint";
  hint.textContent = "Or drop a file anywhere on this page.";
  form.append(hint);
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    choose(event.dataTransfer.files[0]);
  });
})();
