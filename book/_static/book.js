// Small repairs, for readers who use a keyboard or a screen reader, to what the theme
// puts on the page. They run again whenever something is added.

function repair() {
  // A name has to contain the text that one sees: here the text alone is the name,
  for (const button of document.querySelectorAll(".search-button-field[aria-label]")) {
    button.removeAttribute("aria-label");
  }
  for (const summary of document.querySelectorAll("details > summary[aria-label]")) {
    summary.removeAttribute("aria-label");
  }
  // and here the three icons have titles beside the button's own name.
  for (const icon of document.querySelectorAll(".theme-switch-button svg:not([data-tidy])")) {
    icon.dataset.tidy = "";
    icon.setAttribute("aria-hidden", "true");
    icon.querySelector("title")?.remove();
  }
  // Everything on a page lies in some part of it that has a name.
  const sidebar = document.querySelector(".bd-sidebar-primary:not([role])");
  sidebar?.setAttribute("role", "complementary");
  sidebar?.setAttribute("aria-label", "The book");
  // The corner of a table, above the names of its rows, is the heading of nothing.
  for (const head of document.querySelectorAll("article th")) {
    if (head.textContent.trim()) continue;
    head.replaceWith(document.createElement("td"));
  }
  // What scrolls sideways can be scrolled with the keyboard.
  const scrolls =
    ".cell_output .text_html, .live-output, .highlight pre, .pst-scrollable-table-container";
  for (const wide of document.querySelectorAll(scrolls)) {
    if (wide.scrollWidth > wide.clientWidth + 1) wide.tabIndex = 0;
  }
  // The bibliography says that it is a list, so its entries have to be items.
  for (const entry of document.querySelectorAll(".citation-list > [role=doc-biblioentry]")) {
    entry.setAttribute("role", "listitem");
  }
}

// The theme turns the page with the arrow keys, also while they scroll something sideways.
function keepScrolling(event) {
  if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  for (let part = event.target; part !== document.body; part = part.parentElement) {
    const scrolls = ["auto", "scroll"].includes(getComputedStyle(part).overflowX);
    if (scrolls && part.scrollWidth > part.clientWidth + 1) event.stopPropagation();
  }
}

document.addEventListener("DOMContentLoaded", () => {
  repair();
  document.body.addEventListener("keydown", keepScrolling); // before the theme's, on document
  addEventListener("resize", repair); // what fits on one screen scrolls on another
  document.addEventListener("toggle", repair, true); // and what was folded has a width now
  new MutationObserver(repair).observe(document.body, { childList: true, subtree: true });
});
