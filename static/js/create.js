// The New function page: runtimes that fit the starter, and a zip file dropped on the page.

import { $, $$ } from "./dom.js";

const runtime = $("#starter-runtime");

function fitStarter() {
  const starter = $("input[name=starter]:checked");
  if (!starter) return;
  for (const option of runtime.options) {
    option.hidden = option.disabled = option.dataset.language !== starter.dataset.language;
  }
  runtime.value = starter.dataset.runtime;
  $("#starter-name").placeholder = starter.value;
}

for (const radio of $$("input[name=starter]")) radio.addEventListener("change", fitStarter);
if (runtime) fitStarter();

// Zip files

const drop = $("[data-drop]");
const file = $("input[type=file]", drop);

function showChosen() {
  const chosen = file.files[0];
  if (!chosen) return;
  $("[data-drop-text]").textContent = `${chosen.name}, ${(chosen.size / 1e6).toFixed(2)} MB`;
  const name = $("#zip-name");
  const plain = chosen.name.replace(/\.zip$/i, "").replace(/[^A-Za-z0-9]+/g, "-");
  if (!name.value) name.value = plain.replace(/^-+|-+$/g, "").slice(0, 64);
}

file.addEventListener("change", showChosen);
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("is-over");
  });
}
for (const name of ["dragleave", "drop"]) {
  drop.addEventListener(name, () => drop.classList.remove("is-over"));
}
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  file.files = event.dataTransfer.files;
  showChosen();
});

const examples = [...$("#zip-runtime").options].map((option) => option.dataset.handler);
$("#zip-runtime").addEventListener("change", (event) => {
  const handler = $("#zip-handler");
  if (!handler.value || examples.includes(handler.value)) {
    handler.value = event.target.selectedOptions[0].dataset.handler;
  }
});
