// A line plot of the last minute on a canvas. Two series, the colours from the style sheet.

const SPAN = 60_000;
const MARGIN = { top: 8, right: 4, bottom: 20, left: 60 };

/** `unit(value)` writes a value of the vertical axis; `least` is the smallest span that the axis shows. */
export class Plot {
  #canvas;
  #unit;
  #least;
  #samples = [];

  constructor(canvas, unit, least) {
    this.#canvas = canvas;
    this.#unit = unit;
    this.#least = least;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => this.draw());
  }

  /** Adds one sample per series; null where there is none. */
  add(time, values) {
    this.#samples.push({ time, values });
    while (this.#samples[0].time < time - SPAN - 2000) this.#samples.shift();
    this.draw();
  }

  clear() {
    this.#samples = [];
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (!width) return;
    const scale = devicePixelRatio || 1;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    const context = this.#canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(this.#canvas);
    const area = { x: MARGIN.left, y: MARGIN.top, w: width - MARGIN.left - MARGIN.right, h: height - MARGIN.top - MARGIN.bottom };
    const top = this.#ceiling();
    this.#drawGrid(context, style, area, top);
    const now = this.#samples.at(-1)?.time ?? 0;
    ["--a", "--b"].forEach((name, series) => {
      const points = this.#samples
        .filter(({ values }) => values[series] != null)
        .map(({ time, values }) => [area.x + area.w * (1 - (now - time) / SPAN), area.y + area.h * (1 - values[series] / top)]);
      drawLine(context, style.getPropertyValue(name).trim(), points, area);
    });
  }

  /** The upper end of the axis: a round number above every sample. */
  #ceiling() {
    const peak = Math.max(this.#least, ...this.#samples.flatMap(({ values }) => values.map((value) => value ?? 0)));
    const magnitude = 10 ** Math.floor(Math.log10(peak));
    return [1, 1.5, 2, 3, 4, 6, 8, 10].find((step) => step * magnitude >= peak * 1.04) * magnitude || 15 * magnitude;
  }

  #drawGrid(context, style, area, top) {
    context.font = `11px ${style.getPropertyValue("--sans")}`;
    context.fillStyle = style.getPropertyValue("--faint");
    context.strokeStyle = style.getPropertyValue("--edge");
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let i = 0; i <= 2; i++) {
      const y = Math.round(area.y + (area.h * i) / 2) + 0.5;
      context.beginPath();
      context.moveTo(area.x, y);
      context.lineTo(area.x + area.w, y);
      context.stroke();
      context.fillText(this.#unit((top * (2 - i)) / 2), area.x - 8, y);
    }
    context.textBaseline = "alphabetic";
    const floor = area.y + area.h + 16;
    context.textAlign = "left";
    context.fillText("60 s ago", area.x, floor);
    context.textAlign = "center";
    context.fillText("30 s", area.x + area.w / 2, floor);
    context.textAlign = "right";
    context.fillText("now", area.x + area.w, floor);
  }
}

function drawLine(context, colour, points, area) {
  if (points.length < 2) return;
  context.save();
  context.beginPath();
  context.rect(area.x, 0, area.w, area.y + area.h + 1);
  context.clip();
  const line = new Path2D();
  points.forEach(([x, y], i) => (i ? line.lineTo(x, y) : line.moveTo(x, y)));
  const fill = new Path2D(line);
  fill.lineTo(points.at(-1)[0], area.y + area.h);
  fill.lineTo(points[0][0], area.y + area.h);
  const shade = context.createLinearGradient(0, area.y, 0, area.y + area.h);
  // The colours are #rrggbb. Not `transparent`: that is black, and some browsers fade through grey.
  shade.addColorStop(0, `${colour}30`);
  shade.addColorStop(1, `${colour}00`);
  context.fillStyle = shade;
  context.fill(fill);
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.lineJoin = "round";
  context.stroke(line);
  context.restore();
}
