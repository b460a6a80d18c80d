/* Draws the charts of a page by Vega-Lite once they come near the screen; until then only their place is kept.
   A box has its specification in data-chart (projects/charts.py, _chart.html). Colours are CSS variables, so a change of
   theme needs nothing here. The policy forbids eval: Vega's expressions are interpreted (ast). */
(() => {
  "use strict";
  const libraries = document.currentScript.dataset.libraries.split(" ");
  const options = { ast: true, mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false,
    tooltip: { disableDefaultStyle: true } };
  const views = new WeakMap();
  let loading;

  function load(source) {
    const script = document.createElement("script");
    script.async = false;  // each needs those before it
    script.src = source;
    return new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${source} cannot be loaded`));
      document.head.append(script);
    });
  }

  async function draw(box) {
    try {
      await (loading ??= Promise.all(libraries.map(load)));
      const place = document.createElement("div");
      box.append(place);
      views.set(box, await window.vegaEmbed(place, JSON.parse(box.dataset.chart), options));
    } catch (error) {
      box.hidden = true;  // the table beside it says the same
      throw error;
    }
  }

  const near = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
    near.unobserve(entry.target);
    draw(entry.target);
  }), { rootMargin: "300px" });
  const watch = (root) => root.querySelectorAll("[data-chart]").forEach((box) => near.observe(box));

  watch(document);
  document.addEventListener("htmx:load", (event) => event.detail.elt !== document.body && watch(event.detail.elt));
  document.addEventListener("htmx:beforeCleanupElement", (event) => views.get(event.target)?.finalize());
})();
