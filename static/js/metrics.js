// Charts of a function, from the API's exact counts; the newest step fills while one watches.

import uPlot from "../vendor/uplot/uplot.js";
import { get } from "./api.js";
import { $, $$, make, pageData } from "./dom.js";
import { onThemeChange } from "./theme.js";
import { duration } from "./times.js";

const LOOK_MS = 10_000;
const setup = pageData("setup");
const whole = (value) => (value === null ? "–" : value.toLocaleString("en"));
const time = (value) => (value === null || value === undefined ? "–" : duration(value));

const CHARTS = {
  invocations: { series: [["calls", "--accent", (p) => p.invocations]], show: whole, isBars: true },
  errors: { series: [["failed", "--bad", (p) => p.errors]], show: whole, isBars: true },
  latency: {
    series: [
      ["p50", "--part-run", (p) => p.p50Ms],
      ["p95", "--part-queue", (p) => p.p95Ms],
      ["p99", "--bad", (p) => p.p99Ms],
    ],
    show: time,
  },
  cold: { series: [["cold starts", "--info", (p) => p.coldStarts]], show: whole, isBars: true },
};

const drawn = new Map();
let newest = null;

/** A token's colour as the canvas takes it. */
function colour(name) {
  const probe = make("i", { style: { color: `var(${name})` } });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function columns({ series }, metrics) {
  const times = metrics.times.map((each) => Date.parse(each) / 1000);
  return [times, ...series.map(([, , read]) => metrics.total.points.map((point) => read(point) ?? null))];
}

/** Steps between lines of the grid: whole numbers for counts. */
const WHOLE_STEPS = [1, 2, 5].flatMap((n) => [0, 1, 2, 3, 4, 5, 6, 7, 8].map((e) => n * 10 ** e)).sort((a, b) => a - b);

function moment(seconds) {
  const at = new Date(seconds * 1000);
  if (setup.seconds > 2 * 86_400) return at.toLocaleDateString("en", { day: "numeric", month: "short" });
  return at.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

function axes(show, isCount) {
  const common = {
    stroke: colour("--ink-3"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: "11px Inter, sans-serif",
  };
  return [
    { ...common, grid: { show: false }, space: 70, size: 28, values: (_, values) => values.map(moment) },
    {
      ...common,
      size: 58,
      space: 34,
      incrs: isCount ? WHOLE_STEPS : undefined,
      values: (_, values) => values.map((value) => (value ? show(value) : "0")),
    },
  ];
}

function chart(id, host, metrics) {
  const { series, show, isBars } = CHARTS[id];
  const legend = $(`[data-legend="${id}"]`);
  const bars = isBars ? uPlot.paths.bars({ size: [0.7, 40] }) : undefined;
  const options = {
    width: host.clientWidth - 16,
    height: host.clientHeight - 16,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { y: { range: (_, low, high) => [0, high ? high * 1.1 : 1] } },
    axes: axes(show, isBars),
    series: [
      {},
      ...series.map(([label, token]) => ({
        label,
        stroke: colour(token),
        fill: isBars ? colour(token) : undefined,
        width: isBars ? 0 : 1.75,
        paths: bars,
        spanGaps: false,
        points: { show: !isBars, size: 4 },
      })),
    ],
    hooks: { setCursor: [(plot) => say(plot, legend, series, show)] },
  };
  const plot = new uPlot(options, columns(CHARTS[id], metrics), host);
  say(plot, legend, series, show);
  return plot;
}

/** Write what the colours mean beside the title, with the values under the pointer. */
function say(plot, legend, series, show) {
  const at = plot.cursor.idx;
  const value = (index) => (at === null || at === undefined ? "" : ` ${show(plot.data[index + 1][at] ?? null)}`);
  legend.replaceChildren(
    ...series.map(([label, token], index) =>
      make("span", {}, make("i", { style: { background: `var(${token})` } }), `${label}${value(index)}`),
    ),
  );
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
  newest = metrics;
  drawTotals(metrics.total);
  for (const host of $$("[data-chart]")) {
    const id = host.dataset.chart;
    const plot = drawn.get(id);
    if (plot) plot.setData(columns(CHARTS[id], metrics));
    else drawn.set(id, chart(id, host, metrics));
  }
}

function redraw() {
  for (const plot of drawn.values()) plot.destroy();
  drawn.clear();
  if (newest) draw(newest);
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

onThemeChange(redraw);
addEventListener("resize", () => {
  for (const host of $$("[data-chart]")) {
    drawn.get(host.dataset.chart)?.setSize({ width: host.clientWidth - 16, height: host.clientHeight - 16 });
  }
});
look();
