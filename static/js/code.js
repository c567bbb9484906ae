// The Code & test page: file tree, editor with tabs, saving a version, and the test panel.

import { ApiError, get, post } from "./api.js";
import { $, icon, make, pageData } from "./dom.js";
import { Editor } from "./editor.js";
import { Files } from "./files.js";
import { toast } from "./notices.js";
import { TestPanel } from "./testing.js";

const setup = pageData("setup");
const api = `/api/v1/functions/${encodeURIComponent(setup.function)}`;
const FILE_NAME = /^[^/\\:]+(\/[^/\\:]+)*$/;

const keys = [
  { key: "Mod-s", run: () => (save(), true), preventDefault: true },
  { key: "Mod-Enter", run: () => (panel.run(), true), preventDefault: true },
];
const editor = new Editor($("#editor"), { keys, changed });
const panel = new TestPanel(setup, { ask, keys });

let files = new Files([]);
let latest = setup.latest;
let base = "";
let open = [];
let current = "";
const states = new Map();

// Dialogs

function closed(dialog) {
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue), { once: true });
  });
}

async function show(dialog, field) {
  dialog.returnValue = "";
  dialog.showModal();
  field.focus();
  field.select();
  return closed(dialog);
}

/** Ask for a name; empty when it was cancelled. */
async function ask(title, label, value = "") {
  $("#name-title").textContent = title;
  $("#name-label").textContent = label;
  const field = $("#name-field");
  field.value = value;
  return (await show($("#name-dialog"), field)) === "ok" ? field.value.trim() : "";
}

// Files

async function load() {
  const wanted = setup.latest ? setup.version : "";
  if (!wanted) {
    $("#editor-state").textContent = "No code yet: add a file and save it as v1.";
    $("#tree").replaceChildren();
    return;
  }
  const found = await get(`${api}/versions/${encodeURIComponent(wanted)}/files`);
  base = found.version;
  files = new Files(found.files);
  const module = found.handler.split(".")[0];
  const first =
    files.names().find((name) => name.replace(/\.\w+$/, "") === module) ??
    files.names().find((name) => files.isEditable(name));
  if (first) openFile(first);
  else draw();
  if (base === `v${latest}`) return;
  toast(`You are looking at ${base}. Saving makes a new version from it.`);
}

function openFile(name) {
  if (current) states.set(current, editor.state);
  if (!open.includes(name)) open.push(name);
  current = name;
  const isText = files.isEditable(name);
  const text = isText ? files.text(name) : "This file is not text, or too long for the editor.";
  editor.show(states.get(name) ?? editor.newState(text, isText ? name : "", { isReadOnly: !isText }));
  draw();
}

function closeFile(name) {
  open = open.filter((each) => each !== name);
  if (name !== current) return draw();
  current = "";
  const next = open.at(-1);
  if (next) return openFile(next);
  editor.show(editor.newState("", "", { isReadOnly: true }));
  return draw();
}

function changed(text) {
  if (!current || !files.isEditable(current)) return;
  files.set(current, text);
  draw();
}

async function addFile() {
  const name = await ask("New file", "Path, such as lib/items.py");
  if (!name) return;
  if (!FILE_NAME.test(name) || name.includes("..")) return toast("That is not a path inside the package.", "bad");
  if (!files.has(name)) files.set(name, "");
  openFile(name);
  editor.focus();
}

function removeFile() {
  if (!current) return;
  const name = current;
  files.remove(name);
  states.delete(name);
  closeFile(name);
  toast(`${name} goes with the next save.`);
}

// Drawing

const mark = (name) => (files.isChanged(name) ? make("span", { class: "changed", title: "Not saved" }, "●") : null);

function treeRow(name) {
  const parts = name.split("/");
  const row = make("button", {
    type: "button",
    class: parts.length > 1 ? "is-nested" : "",
    title: name,
    "aria-current": String(name === current),
    onclick: () => openFile(name),
  });
  row.append(icon(files.isEditable(name) ? "file-code" : "file"), make("span", { class: "cut" }, parts.at(-1)));
  const changedMark = mark(name);
  if (changedMark) row.append(changedMark);
  return row;
}

function drawTree() {
  const rows = [];
  let folder = "";
  for (const name of files.names().sort((a, b) => a.includes("/") - b.includes("/") || (a < b ? -1 : 1))) {
    const own = name.includes("/") ? name.slice(0, name.lastIndexOf("/")) : "";
    if (own !== folder) rows.push(make("div", { class: "folder" }, `${own}/`));
    folder = own;
    rows.push(treeRow(name));
  }
  $("#tree").replaceChildren(...rows);
}

function fileTab(name) {
  const tab = make("div", { class: "file-tab", "data-current": name === current });
  const choose = make("button", { type: "button", onclick: () => openFile(name), "aria-pressed": String(name === current) });
  choose.append(name.split("/").at(-1), " ");
  const changedMark = mark(name);
  if (changedMark) choose.append(changedMark);
  const close = make("button", { type: "button", "aria-label": `Close ${name}`, onclick: () => closeFile(name) });
  close.append(icon("x"));
  tab.append(choose, close);
  return tab;
}

let drawn = "";

/** Draw again only when something that shows has changed: this runs at every key. */
function draw() {
  const edits = Object.keys(files.edits());
  const signature = JSON.stringify([files.names(), open, current, edits, base]);
  if (signature === drawn) return;
  drawn = signature;
  drawTree();
  $("#file-tabs").replaceChildren(...open.map(fileTab));
  const button = $("#save");
  button.disabled = !edits.length;
  button.title = edits.length ? "Save as a new version (Ctrl S)" : "Nothing has changed";
  $("#delete-file").disabled = !current;
  const count = edits.length === 1 ? "1 file changed" : `${edits.length} files changed`;
  $("#editor-state").textContent = edits.length ? `${count}, not saved` : base ? `${base}, saved` : "";
}

// Saving

async function save() {
  if (!files.isDirty) return toast("Nothing has changed.");
  const edits = files.edits();
  $("#save-number").textContent = `v${(latest ?? 0) + 1}`;
  $("#save-summary").textContent = Object.entries(edits)
    .map(([name, text]) => (text === null ? `${name} (removed)` : name))
    .join(", ");
  const field = $("#save-message");
  field.value = "";
  if ((await show($("#save-dialog"), field)) !== "save") return editor.focus();
  return send(edits, field.value.trim());
}

async function send(edits, message) {
  const button = $("#save");
  button.classList.add("is-busy");
  try {
    const body = { files: edits, message, ...(base ? { baseVersion: base } : {}) };
    const version = await post(`${api}/versions`, body, { seconds: 60 });
    base = version.version;
    latest = Number(base.slice(1));
    files.settle();
    $("#latest-badge").textContent = base;
    $("#latest-badge").className = "badge accent";
    addTarget(base);
    draw();
    toast(`Version ${base} is saved and live on $LATEST.`);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
  } finally {
    button.classList.remove("is-busy");
    editor.focus();
  }
}

function addTarget(label) {
  const option = make("option", { value: `version:${label}` }, label);
  const newest = [...$("#target").options].find((each) => /^version:v/.test(each.value));
  $("#target").insertBefore(option, newest ?? null);
}

// Wiring

$("#new-file").addEventListener("click", addFile);
$("#delete-file").addEventListener("click", removeFile);
$("#save").addEventListener("click", save);
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.defaultPrevented || $("dialog[open]")) return;
  if (event.key === "s") {
    event.preventDefault();
    save();
  } else if (event.key === "Enter") {
    event.preventDefault();
    panel.run();
  }
});
addEventListener("beforeunload", (event) => {
  if (files.isDirty) event.preventDefault();
});

load()
  .catch((error) => {
    $("#editor-state").textContent = error.message;
    $("#tree").replaceChildren();
  })
  .finally(() => {
    $("#workbench").dataset.loaded = "true";
  });
if (location.hash === "#test") {
  history.replaceState(null, "", location.pathname + location.search);
  panel.run();
}
