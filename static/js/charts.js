// Lines and bars over time in the portal's colours, with a legend that tells the values.

import uPlot from "../vendor/uplot/uplot.js";
import { make } from "./dom.js";
import { duration } from "./times.js";

const GAP = 16;
/** Steps between lines of the grid: whole numbers for counts. */
const WHOLE_STEPS = [1, 2, 5].flatMap((n) => [0, 1, 2, 3, 4, 5, 6, 7, 8].map((e) => n * 10 ** e)).sort((a, b) => a - b);

export const whole = (value) => (value === null ? "–" : value.toLocaleString("en"));
export const time = (value) => (value === null || value === undefined ? "–" : duration(value));
export const percent = (value) => (value === null || value === undefined ? "–" : `${Number((100 * value).toPrecision(3))} %`);

/** A token's colour as the canvas takes it. */
export function colour(name) {
  const probe = make("i", { style: { color: `var(${name})` } });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function moment(seconds, span) {
  const at = new Date(seconds * 1000);
  if (span > 2 * 86_400) return at.toLocaleDateString("en", { day: "numeric", month: "short" });
  const exact = span < 600 ? { second: "2-digit" } : {};
  return at.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...exact });
}

function axes(show, isCount, spanOf) {
  const common = {
    stroke: colour("--ink-3"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: "11px Inter, sans-serif",
  };
  return [
    {
      ...common,
      grid: { show: false },
      space: 76,
      size: 28,
      values: (plot, values) => values.map((value) => moment(value, spanOf(plot))),
    },
    {
      ...common,
      size: 58,
      space: 34,
      incrs: isCount ? WHOLE_STEPS : undefined,
      values: (_, values) => values.map((value) => (value ? show(value) : "0")),
    },
  ];
}

/** Dashed lines across the plot, each with its words: `[{ at, text }]`, in the colour of limits. */
function drawLimits(plot, limits) {
  const { ctx, bbox } = plot;
  const scale = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = colour("--bad");
  ctx.fillStyle = colour("--bad");
  ctx.lineWidth = scale;
  ctx.setLineDash([5 * scale, 4 * scale]);
  ctx.font = `${11 * scale}px Inter, sans-serif`;
  ctx.textAlign = "right";
  ctx.textBaseline = "bottom";
  for (const { at, text } of limits) {
    const y = plot.valToPos(at, "y", true);
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.fillText(text, bbox.left + bbox.width - 4 * scale, y - 3 * scale);
  }
  ctx.restore();
}

/** Thin upright lines where something happened: `[{ at, text }]`, `at` in epoch seconds. */
function drawMarks(plot, marks) {
  const { ctx, bbox } = plot;
  const scale = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = colour("--line-control");
  ctx.fillStyle = colour("--ink-3");
  ctx.lineWidth = scale;
  ctx.setLineDash([2 * scale, 3 * scale]);
  ctx.font = `${10 * scale}px Inter, sans-serif`;
  ctx.textAlign = "left";
  ctx.textBaseline = "bottom";
  for (const { at, text } of marks) {
    const x = plot.valToPos(at, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillText(text, x + 3 * scale, bbox.top + bbox.height - 3 * scale);
  }
  ctx.restore();
}

export class Chart {
  /**
   * @param kind { series: [[label, colour token, dash]], show, isBars, limits, marks }:
   *   `show` writes a value; a series without a label belongs to the one before; `limits` and
   *   `marks` see above.
   */
  constructor(host, legend, kind) {
    this.host = host;
    this.legend = legend;
    this.kind = { limits: [], marks: [], ...kind };
  }

  get size() {
    return { width: this.host.clientWidth - GAP, height: this.host.clientHeight - GAP };
  }

  /** Draw columns: times in epoch seconds, then one column per series. */
  set(columns) {
    this.columns = columns;
    if (this.plot) this.plot.setData(columns);
    else this.plot = this.make();
    this.say();
  }

  /** Draw anew, for other colours or other limits. */
  redraw() {
    this.plot?.destroy();
    this.plot = null;
    if (this.columns) this.set(this.columns);
  }

  fit() {
    this.plot?.setSize(this.size);
  }

  make() {
    const { series, show, isBars } = this.kind;
    const bars = isBars ? uPlot.paths.bars({ size: [0.7, 40] }) : undefined;
    const spanOf = (plot) => plot.scales.x.max - plot.scales.x.min;
    const top = (high) => Math.max(high ?? 0, ...this.kind.limits.map(({ at }) => at)) * 1.12 || 1;
    const options = {
      ...this.size,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [0, top(high)] } },
      axes: axes(show, isBars, spanOf),
      series: [
        {},
        ...series.map(([label, token, dash]) => ({
          label,
          dash,
          stroke: colour(token),
          fill: isBars ? colour(token) : undefined,
          width: isBars ? 0 : 1.75,
          paths: bars,
          spanGaps: false,
          points: { show: !isBars && !dash, size: 4 },
        })),
      ],
      hooks: {
        setCursor: [() => this.say()],
        draw: [
          (plot) => {
            drawMarks(plot, this.kind.marks);
            drawLimits(plot, this.kind.limits);
          },
        ],
      },
    };
    return new uPlot(options, this.columns, this.host);
  }

  /** Write what the colours mean beside the title, with the values under the pointer. */
  say() {
    if (!this.plot) return;
    const at = this.plot.cursor.idx;
    const isOff = at === null || at === undefined;
    const value = (index) => (isOff ? "" : ` ${this.kind.show(this.plot.data[index + 1][at] ?? null)}`);
    const entries = [];
    this.kind.series.forEach(([label, token], index) => {
      if (label) entries.push(make("span", {}, make("i", { style: { background: `var(${token})` } }), `${label}${value(index)}`));
      else if (!isOff) entries.at(-1).append(` ·${value(index)}`);
    });
    this.legend.replaceChildren(...entries);
  }
}
