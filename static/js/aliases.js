// The alias dialog: shares in per cent that sum to 100, as sliders and numbers.

import { $, $$, icon, make, pageData } from "./dom.js";

const WHOLE = 10_000; // basis points
const setup = pageData("setup");
const dialog = $("#alias-dialog");
const list = $("#shares");

const rows = () => $$(".share", list);
const field = (row) => $("input[type=number]", row);
const points = (row) => Math.round(Number(field(row).value) * 100) || 0;

function setPoints(row, value) {
  field(row).value = String(value / 100);
  $("input[type=range]", row).value = String(value);
}

/** Give the other rows what this one leaves, in their old proportions. */
function balance(changed) {
  const others = rows().filter((row) => row !== changed);
  if (!others.length) return setPoints(changed, WHOLE);
  const left = WHOLE - Math.min(WHOLE, points(changed));
  const before = others.reduce((sum, row) => sum + points(row), 0);
  let given = 0;
  others.forEach((row, index) => {
    const isLast = index === others.length - 1;
    const part = before ? Math.floor((left * points(row)) / before) : Math.floor(left / others.length);
    setPoints(row, isLast ? left - given : part);
    given += part;
  });
  return undefined;
}

function check() {
  const sum = rows().reduce((total, row) => total + points(row), 0);
  const numbers = rows().map((row) => $("select", row).value);
  const isTwice = new Set(numbers).size < numbers.length;
  const text = isTwice ? "A version is there twice" : sum === WHOLE ? "Sum 100 %" : `Sum ${sum / 100} %, must be 100`;
  $("#share-sum").textContent = text;
  $("#alias-submit").disabled = isTwice || sum !== WHOLE;
}

function addRow(number, value) {
  const choice = make("select", { name: "version", class: "compact", "aria-label": "Version" });
  for (const each of setup.versions) choice.append(make("option", { value: String(each) }, `v${each}`));
  choice.value = String(number);
  const range = make("input", { type: "range", min: "0", max: String(WHOLE), step: "100", "aria-label": `Share of v${number}` });
  const exact = make("input", { type: "number", name: "share", class: "input compact num", min: "0", max: "100", step: "0.01", "aria-label": `Share of v${number} in per cent` });
  const remove = make("button", { type: "button", class: "button quiet square compact", "aria-label": `Remove v${number}` });
  remove.append(icon("x"));
  const row = make("div", { class: "share" }, choice, range, exact, remove);
  list.append(row);
  setPoints(row, value);
  choice.addEventListener("change", check);
  range.addEventListener("input", () => {
    setPoints(row, Number(range.value));
    balance(row);
    check();
  });
  exact.addEventListener("input", () => {
    range.value = String(points(row));
    if (rows().length === 2) balance(row);
    check();
  });
  remove.addEventListener("click", () => {
    row.remove();
    if (rows()[0]) balance(rows()[0]);
    check();
  });
}

function addVersion() {
  const taken = rows().map((row) => $("select", row).value);
  const free = setup.versions.find((number) => !taken.includes(String(number)));
  if (free !== undefined) addRow(free, rows().length ? 0 : WHOLE);
  check();
}

function openDialog(name) {
  const alias = setup.aliases.find((each) => each.name === name);
  $("#alias-title").textContent = alias ? `Move alias ${name}` : "New alias";
  $("#alias-is-new").value = alias ? "0" : "1";
  $("#alias-name-field").hidden = Boolean(alias);
  $("#alias-name").value = name;
  $("#alias-description").value = alias?.description ?? "";
  list.replaceChildren();
  for (const [number, value] of alias?.targets ?? [[setup.versions[0], WHOLE]]) addRow(number, value);
  check();
  dialog.showModal();
}

$("#add-share").addEventListener("click", addVersion);
for (const button of $$("[data-alias]")) button.addEventListener("click", () => openDialog(button.dataset.alias));
