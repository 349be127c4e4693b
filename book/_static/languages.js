// The switch to another language leads to the same place of the page, and the language
// that was chosen is remembered: the book's address opens in it the next time.

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-language]");
  if (!link) return;
  try {
    localStorage.setItem("book-language", link.dataset.language.replace("-", "_"));
  } catch {
    // Where nothing may be stored, nothing is remembered.
  }
  // Headings have the same names in every language.
  if (!("elsewhere" in link.dataset)) link.hash = location.hash;
});
