// Charts of a function, from the API's exact counts; the newest step fills while one watches.

import { get } from "./api.js";
import { Chart, time, whole } from "./charts.js";
import { $, $$, pageData } from "./dom.js";
import { onThemeChange } from "./theme.js";

const LOOK_MS = 10_000;
const setup = pageData("setup");

const CHARTS = {
  invocations: { series: [["calls", "--accent"]], read: [(p) => p.invocations], show: whole, isBars: true },
  errors: { series: [["failed", "--bad"]], read: [(p) => p.errors], show: whole, isBars: true },
  latency: {
    series: [
      ["p50", "--part-run"],
      ["p95", "--part-queue"],
      ["p99", "--bad"],
    ],
    read: [(p) => p.p50Ms, (p) => p.p95Ms, (p) => p.p99Ms],
    show: time,
  },
  cold: { series: [["cold starts", "--info"]], read: [(p) => p.coldStarts], show: whole, isBars: true },
};

const drawn = new Map(
  $$("[data-chart]").map((host) => {
    const id = host.dataset.chart;
    return [id, new Chart(host, $(`[data-legend="${id}"]`), CHARTS[id])];
  }),
);

function columns({ read }, metrics) {
  const times = metrics.times.map((each) => Date.parse(each) / 1000);
  return [times, ...read.map((of) => metrics.total.points.map((point) => of(point) ?? null))];
}

function drawTotals({ summary }) {
  const texts = {
    invocations: whole(summary.invocations),
    errors: summary.invocations ? `${whole(summary.errors)} (${((100 * summary.errors) / summary.invocations).toFixed(1)} %)` : "–",
    latency: summary.invocations ? [summary.p50Ms, summary.p95Ms, summary.p99Ms].map(time).join(" · ") : "–",
    cold: whole(summary.coldStarts),
  };
  for (const [name, text] of Object.entries(texts)) $(`[data-total="${name}"]`).textContent = text;
}

function draw(metrics) {
  drawTotals(metrics.total);
  for (const [id, chart] of drawn) chart.set(columns(CHARTS[id], metrics));
}

function mark(tone, text) {
  $("#fresh .dot").className = `dot ${tone}`;
  $("#fresh span:last-child").textContent = text;
}

async function look() {
  const end = new Date();
  const start = new Date(end - setup.seconds * 1000);
  const query = `from=${start.toISOString()}&to=${end.toISOString()}`;
  try {
    draw(await get(`/api/v1/functions/${encodeURIComponent(setup.function)}/metrics?${query}`));
    mark("ok", "Live");
  } catch (error) {
    mark("warn", `No update: ${error.message}`);
  }
  setTimeout(look, LOOK_MS);
}

onThemeChange(() => {
  for (const chart of drawn.values()) chart.redraw();
});
addEventListener("resize", () => {
  for (const chart of drawn.values()) chart.fit();
});
look();
