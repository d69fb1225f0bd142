"use strict";
// Moves between answers that were computed beforehand. Nothing is predicted here.
(() => {
  const { presets, keys, figures, last } = JSON.parse(document.getElementById("report-data").textContent);
  const slider = document.getElementById("budget");
  const chooser = document.getElementById("preset");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  const config = { displayModeBar: false, responsive: true };
  const paper = { width: 700, height: 260 }; // pixels of a figure on A4 or Letter
  const drawn = new Set();
  const links = new Map();
  let printing = false;

  const write = (element, [value, text]) => {
    element.textContent = text;
    if (element.tagName === "DATA") element.value = value ?? "";
  };
  const list = (id, texts) => {
    document.getElementById(id).replaceChildren(
      ...texts.map((text) => Object.assign(document.createElement("li"), { textContent: text })),
    );
  };

  const painted = (figure, budget) => {
    const night = dark.matches && !printing;
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const small = narrow.matches && !printing;
    const traces = figure.traces.map((trace) => {
      const own = trace.meta[night ? 1 : 0];
      const copy = { ...trace };
      if (trace.line) copy.line = { ...trace.line, color: own };
      if (trace.marker) copy.marker = { ...trace.marker, color: own };
      return copy;
    });
    const axis = (given) => ({
      gridcolor: colour("--grid"), zerolinecolor: colour("--soft"), linecolor: colour("--line"), zeroline: false, ...given,
    });
    // The first stands at the budget; others stay.
    const shapes = (figure.layout.shapes || []).map((shape, place) => place
      ? { ...shape, fillcolor: colour("--ink") }
      : { ...shape, x0: budget, x1: budget, line: { ...shape.line, color: colour("--ink") } });
    const layout = {
      ...figure.layout, shapes, dragmode: false, autosize: !printing, ...(printing ? paper : {}),
      xaxis: axis(figure.layout.xaxis), yaxis: axis(figure.layout.yaxis),
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: small ? 12 : 13 },
      margin: { l: 10, r: 10, t: 10, b: 10 },
      hoverlabel: { bgcolor: colour("--raised"), font: { color: colour("--ink") } },
      legend: small ? { orientation: "h", y: -0.3, x: 0 } : { y: 1, x: 1.02 },
    };
    return [traces, layout];
  };
  const draw = (name, figure, budget) => {
    const place = document.getElementById(`plot-${name}`);
    if (!place) return;
    if (figure.summary) document.getElementById(`summary-${name}`).textContent = figure.summary;
    const [traces, layout] = painted(figure, budget);
    Plotly.react(place, traces, layout, config);
    drawn.add(name);
  };

  const chosen = () => {
    const preset = presets[Number(chooser.value)];
    return [preset, preset.stops[Number(slider.value)]];
  };
  const drawAll = () => {
    const [preset, stop] = chosen();
    for (const [name, figure] of Object.entries({ ...preset.figures, ...figures })) draw(name, figure, stop.samples_seen);
  };
  const offer = (name, text, kind) => {
    for (const link of document.querySelectorAll(`a[data-file="${kind}"]`)) {
      if (links.has(kind)) URL.revokeObjectURL(links.get(kind));
      links.set(kind, URL.createObjectURL(new Blob([text], { type: "text/plain" })));
      link.href = links.get(kind);
      link.download = `${link.dataset.name}-${name}.${kind}`;
    }
  };

  const showStop = () => {
    const [preset, stop] = chosen();
    const fields = Object.fromEntries(keys.map((key, place) => [key, stop.fields[place]]));
    for (const element of document.querySelectorAll("[data-field]")) write(element, fields[element.dataset.field]);
    for (const bar of document.querySelectorAll("[data-bar]")) {
      for (const part of ["share", "low", "high"]) {
        bar.style.setProperty(`--${part}`, fields[`${bar.dataset.bar}-${part}`][0]);
      }
    }
    for (const row of document.querySelectorAll("[data-at]")) {
      row.classList.toggle("now", row.dataset.at === slider.value);
    }
    list("warnings", stop.warnings);
    slider.setAttribute("aria-valuetext", `${stop.budget} samples seen`);
    const named = `${preset.name}-${stop.budget}`.replace(/[^A-Za-z0-9.]+/g, "-");
    for (const [kind, text] of Object.entries(stop.files)) offer(named, text, kind);
    for (const name of ["curves", "mixes"]) {
      if (!drawn.has(name)) continue;
      const colour = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
      const at = { "shapes[0].x0": stop.samples_seen, "shapes[0].x1": stop.samples_seen, "shapes[0].line.color": colour };
      Plotly.relayout(`plot-${name}`, at);
    }
  };
  const showPreset = () => {
    const [preset, stop] = chosen();
    for (const element of document.querySelectorAll("[data-over]")) write(element, preset.overview[element.dataset.over]);
    for (const element of document.querySelectorAll("[data-preset]")) element.textContent = preset[element.dataset.preset];
    list("crossings", preset.crossings);
    offer(preset.name.replace(/[^A-Za-z0-9]+/g, "-"), preset.csv, "csv");
    showStop();
    for (const [name, figure] of Object.entries(preset.figures)) {
      if (drawn.has(name)) draw(name, figure, stop.samples_seen);
    }
  };
  // Said once the slider rests, not at every step of a drag.
  let waiting;
  const say = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { document.getElementById("said").textContent = chosen()[1].said; }, 400);
  };

  slider.value = last;
  chooser.value = 0;
  document.getElementById("controls").hidden = false;
  document.getElementById("downloads").hidden = false;
  showPreset();
  slider.addEventListener("input", () => { showStop(); say(); });
  chooser.addEventListener("input", () => { showPreset(); say(); });
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  dark.addEventListener("change", drawAll);
  narrow.addEventListener("change", drawAll);
  for (const [moment, now] of [["beforeprint", true], ["afterprint", false]]) {
    addEventListener(moment, () => { printing = now; drawAll(); });
  }
  // The numbers are there first; figures follow when they are about to be seen.
  const watcher = new IntersectionObserver((entries) => {
    const [preset, stop] = chosen();
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      const name = target.id.replace("plot-", "");
      draw(name, preset.figures[name] || figures[name], stop.samples_seen);
    }
  }, { rootMargin: "600px" });
  for (const place of document.querySelectorAll(".plot")) watcher.observe(place);
})();
