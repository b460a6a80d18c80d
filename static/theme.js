/* Sets the theme before the first paint: the stored choice, or what the system asks for. */
(() => {
  "use strict";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try { return localStorage.getItem("goldpan-theme"); } catch { return null; }  // storage may be switched off
  };
  const apply = () => {
    const choice = stored() === "light" || stored() === "dark" ? stored() : "system";
    const root = document.documentElement;
    root.dataset.theme = choice;
    root.dataset.bsTheme = choice === "system" ? (system.matches ? "dark" : "light") : choice;
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", apply);
  addEventListener("goldpan:theme", apply);
})();
