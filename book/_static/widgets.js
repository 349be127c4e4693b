// require.js looks for modules beside the page; the widget manager's own lie in vendor/.
require.config({
  baseUrl: new URL("../vendor/", document.currentScript.src).href,
});

// Widgets ask for formulas in MathJax 2's way; the pages have MathJax 3.
document.addEventListener("DOMContentLoaded", () => {
  if (window.MathJax) {
    const typeset = (element) =>
      MathJax.startup.promise.then(() => MathJax.typesetPromise([element]));
    MathJax.Hub = { Queue: ([, , element]) => typeset(element) };
  }
});
