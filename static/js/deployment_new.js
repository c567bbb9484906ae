// The start form: fields of the chosen strategy only, and a preview that the server computes.

import { $, $$, debounced } from "./dom.js";
import { morph } from "./morph.js";

const form = $("#deploy-form");
const preview = $("#preview");
let question = 0;

function showFields() {
  const chosen = $("input[name=strategy]:checked", form).value;
  for (const group of $$("[data-strategy]", form)) {
    group.hidden = group.disabled = group.dataset.strategy !== chosen;
  }
}

function showErrors(errors) {
  for (const field of $$("[data-field]", form)) {
    const text = field.closest("[data-strategy][disabled]") ? "" : (errors[field.dataset.field] ?? "");
    $("[data-error]", field).textContent = text;
    for (const input of $$("input:not([type=radio])", field)) input.toggleAttribute("aria-invalid", Boolean(text));
    for (const input of $$("[aria-invalid]", field)) input.setAttribute("aria-invalid", "true");
  }
}

async function ask() {
  const number = ++question;
  preview.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(form.dataset.preview, {
      method: "POST",
      body: new FormData(form),
      signal: AbortSignal.timeout(15_000),
    });
    const answer = await response.json();
    if (number !== question) return;
    if (answer.html === undefined) throw new Error(answer.detail || answer.title);
    morph(preview, answer.html);
    showErrors(answer.errors);
  } catch (error) {
    if (number === question) showErrors({ strategy: `No preview: ${error.message}` });
  } finally {
    if (number === question) preview.setAttribute("aria-busy", "false");
  }
}

if (form) {
  const askSoon = debounced(ask, 300);
  form.addEventListener("input", (event) => {
    if (event.target.name === "strategy") showFields();
    if (event.target.name !== "message") askSoon();
  });
  showFields();
  ask();
}
