// The page of one deployment: the websocket says that something changed, the server draws it.

import { Chart, percent, time, whole } from "./charts.js";
import { $, $$, pageData } from "./dom.js";
import { morph } from "./morph.js";
import { Socket } from "./sockets.js";
import { onThemeChange } from "./theme.js";
import { refreshTimes } from "./times.js";

const LOOK_MS = 1000; // while the websocket is away
const SPARE_LOOK_MS = 5000; // for what only time changes, such as a gateway that fell silent
const setup = pageData("setup");
const page = $("#deployment");
const charts = new Map();
let arrivedAt = performance.now();
let lookedAt = 0;
let isLooking = false;
let isStale = false;

// Clocks run here between two looks; the server's seconds count, not this machine's time of day.

const two = (n) => String(n).padStart(2, "0");

function clockText(seconds) {
  const all = Math.max(0, Math.floor(seconds));
  const [hours, minutes] = [Math.floor(all / 3600), Math.floor(all / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(all % 60)}` : `${minutes}:${two(all % 60)}`;
}

function tick() {
  const passed = (performance.now() - arrivedAt) / 1000;
  for (const clock of $$("[data-clock]", page)) {
    const start = Number(clock.dataset.seconds);
    clock.textContent = clockText(clock.dataset.clock === "up" ? start + passed : start - passed);
  }
  for (const bar of $$("[data-whole]", page)) {
    const left = Math.max(0, Number(bar.dataset.left) - passed);
    $(".level", bar).setAttribute("width", (100 * (1 - left / Number(bar.dataset.whole))).toFixed(1));
  }
}

// Charts

const both = (old, fresh) => [
  [old, "--old"],
  [fresh, "--new"],
];

function kinds({ old, fresh, limits, marks }) {
  return {
    errors: { series: both(old, fresh), show: percent, limits: limits.errors, marks },
    latency: {
      series: [
        [old, "--old"],
        ["", "--old", [3, 3]],
        [fresh, "--new"],
        ["", "--new", [3, 3]],
      ],
      show: time,
      limits: limits.latency,
      marks,
    },
    calls: { series: both(old, fresh), show: whole, marks },
  };
}

function drawCharts() {
  const series = pageData("series");
  if (!series) return;
  const wanted = kinds(series);
  for (const host of $$("[data-chart]", page)) {
    const id = host.dataset.chart;
    const columns = [series.times, ...series[id]];
    if (!charts.has(id)) charts.set(id, new Chart(host, $(`[data-legend="${id}"]`), wanted[id]));
    const chart = charts.get(id);
    const isAnother = JSON.stringify(chart.kind.series) !== JSON.stringify(wanted[id].series);
    Object.assign(chart.kind, wanted[id]);
    chart.set(columns);
    if (isAnother) chart.redraw();
  }
}

// Looking

function say(tone, text) {
  $("#fresh .dot").className = `dot ${tone}`;
  $("#fresh span:last-child").textContent = text;
}

async function fetchPart() {
  const response = await fetch(location.pathname + location.search, {
    headers: { "X-Partial": "1" },
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok || response.redirected) throw new Error(`the server answered ${response.status}`);
  return response.text();
}

/** Look once; a wish that comes meanwhile is granted afterwards, and several become one. */
async function look() {
  if (isLooking) {
    isStale = true;
    return;
  }
  isLooking = true;
  isStale = false;
  try {
    const html = await fetchPart();
    lookedAt = arrivedAt = performance.now();
    morph(page, html);
    refreshTimes(page);
    drawCharts();
    tick();
    say("ok", "Live");
  } catch (error) {
    say("warn", `No update: ${error.message}`);
  }
  isLooking = false;
  if (isStale) look();
}

// Verbs that ask for a reason

page.addEventListener("click", (event) => {
  const button = event.target.closest("[data-command-name]");
  if (!button) return;
  $("#command-name").value = button.dataset.commandName;
  $("#command-title").textContent = button.dataset.asks;
  $("#command-means").textContent = button.dataset.means;
  const submit = $("#command-submit");
  submit.className = `button ${button.dataset.tone || "primary"}`;
  submit.textContent = button.textContent.trim();
  $("#command-reason").value = "";
  $("#command-dialog").showModal();
});

drawCharts();
tick();
setInterval(tick, 250);
onThemeChange(() => {
  for (const chart of charts.values()) chart.redraw();
});
addEventListener("resize", () => {
  for (const chart of charts.values()) chart.fit();
});

const socket = new Socket(`/ws/deployments/${setup.id}`, { state: look }, say);
setInterval(() => {
  const pause = socket.isOpen ? SPARE_LOOK_MS : LOOK_MS;
  if (!document.hidden && performance.now() - lookedAt >= pause) look();
}, LOOK_MS);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});
