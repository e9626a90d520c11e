// SPDX-License-Identifier: Apache-2.0
// Draws each plot again with uPlot, from the table below it.
"use strict";

(() => {
  const COIN = 1e18;
  const drawn = new Map();

  const colour = (name) => {
    const probe = document.createElement("span");
    probe.className = "hidden";
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };

  // Amounts are exact in the table; a drawing needs no more than a float has.
  const scaled = (kind, value) => (kind === "amount" ? Number(value) / COIN : kind === "price" ? Number(value) * 1e6 / COIN : kind === "share" ? Number(value) / 1e4 : Number(value));
  const written = (kind, value) => (value == null ? "–" : value.toLocaleString(undefined, { maximumFractionDigits: 6 }) + (kind === "share" ? " %" : ""));

  const two = (number) => String(number).padStart(2, "0");
  const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6, 1e7, 1e8, 1e9];

  // Days are those of UTC, as in the table; hours are local.
  function marked(at, daily, hourly) {
    const time = new Date(at * 1000);
    if (daily) return `${two(time.getUTCMonth() + 1)}-${two(time.getUTCDate())}`;
    return hourly ? `${two(time.getHours())}:${two(time.getMinutes())}` : `${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  }

  function draw(figure) {
    const rows = [...figure.querySelectorAll("details tbody tr")];
    const frame = figure.querySelector(".frame");
    if (rows.length < 1 || !frame) return;
    const kind = figure.dataset.kind;
    const bars = figure.dataset.shape === "bars";
    const step = Number(figure.dataset.step);
    const daily = bars && step === 86400;
    const names = JSON.parse(figure.dataset.series);
    const times = rows.map((row) => Number(row.dataset.x));
    const lines = names.map((_, place) => rows.map((row) => scaled(kind, row.children[place + 1].dataset.value)));
    if (!bars) {
      times.push(Math.max(Number(figure.dataset.until), times[times.length - 1]));
      for (const line of lines) line.push(line[line.length - 1]);
    }
    const colours = [colour("--accent"), colour("--second")];
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    const days = { timeZone: daily ? "UTC" : undefined };
    const options = {
      width: frame.clientWidth,
      height: 200,
      tzDate: daily ? (at) => uPlot.tzDate(new Date(at * 1000), "UTC") : undefined,
      scales: { x: bars ? { range: (_, low, high) => [low - step / 2, high + step / 2] } : {}, y: { range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1] } },
      cursor: { y: false, drag: { x: true, y: false } },
      axes: [{ ...axis, values: (_, marks) => marks.map((one) => marked(one, daily, bars && !daily)) }, { ...axis, size: 64, ...(kind === "count" ? { incrs: WHOLE } : {}), values: (_, marks) => marks.map((one) => written(kind, one)) }],
      series: [
        { label: daily ? "day" : "time", value: (_, at) => (at == null ? "–" : daily ? new Date(at * 1000).toLocaleDateString("sv", days) : new Date(at * 1000).toLocaleString("sv")) },
        ...names.map((name, place) => ({
          label: name,
          stroke: colours[place],
          fill: bars ? colours[place] : undefined,
          width: bars ? 0 : 2,
          points: { show: false },
          paths: bars ? uPlot.paths.bars({ size: [0.7, 60], align: 0 }) : uPlot.paths.stepped({ align: 1 }),
          value: (_, value) => written(kind, value),
        })),
      ],
    };
    drawn.get(figure)?.destroy();
    let place = figure.querySelector(".chart");
    if (!place) {
      place = document.createElement("div");
      place.className = "chart";
      place.setAttribute("aria-hidden", "true");
      frame.after(place);
    }
    options.width = figure.clientWidth - 32;
    drawn.set(figure, new uPlot(options, [times, ...lines], place));
    frame.hidden = true;
    const keys = figure.querySelector(".keys");
    if (keys) keys.hidden = true;
  }

  function drawAll(root) {
    for (const [figure, plot] of drawn) {
      if (!figure.isConnected) {
        plot.destroy();
        drawn.delete(figure);
      }
    }
    const figures = root.matches?.(".plot") ? [root] : root.querySelectorAll(".plot");
    for (const figure of figures) draw(figure);
  }

  const again = () => drawAll(document);
  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(again, 150);
  });
  document.addEventListener("theme", again);
  document.addEventListener("renewed", (event) => drawAll(event.detail));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  again();
})();
