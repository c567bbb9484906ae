// The Configuration page: rows of environment variables, and a guard for unsaved changes.

import { $ } from "./dom.js";

const form = $("#configuration");
const list = $("#variables");
let isChanged = false;

$("#add-variable").addEventListener("click", () => {
  const row = list.lastElementChild.cloneNode(true);
  for (const input of row.querySelectorAll("input")) input.value = "";
  list.append(row);
  $("input", row).focus();
});

list.addEventListener("click", (event) => {
  const button = event.target.closest("[data-remove]");
  if (!button) return;
  const row = button.closest(".variable");
  isChanged = true;
  if (list.children.length > 1) row.remove();
  else for (const input of row.querySelectorAll("input")) input.value = "";
});

form.addEventListener("input", () => {
  isChanged = true;
});
form.addEventListener("submit", () => {
  isChanged = false;
});
addEventListener("beforeunload", (event) => {
  if (isChanged) event.preventDefault();
});
