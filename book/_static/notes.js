// Notes beside the words that have one: rest on a term, a citation, a footnote or a
// reference to a formula, with the pointer or the keyboard, and see what it stands for.
// Escape puts the note away; the link itself goes there, as ever.

{
  const root = new URL(document.documentElement.dataset.content_root, location.href);
  const scripts = document.currentScript.src;
  const REST = 250; // milliseconds that a pointer has to rest, or may leave for the note

  let data; // a promise: {address within the site: HTML}, from a script of its own
  let note, shownFor, focused, timer; // focused: not the pointer brought it, so it stays

  const load = () => (data ??= new Promise((resolve) => {
    window.bookNotes = resolve;
    const src = new URL("notes-data.js", scripts);
    document.head.append(Object.assign(document.createElement("script"), { src }));
  }));

  // A page without formulas of its own has no MathJax, until a note brings one.
  const formulas = () => window.MathJax?.startup?.promise ?? new Promise((resolve) => {
    if (window.MathJax) return resolve(); // its script is on its way, and sets them itself
    window.MathJax = { options: { processHtmlClass: "math" }, startup: { typeset: false } };
    document.head.append(Object.assign(document.createElement("script"), {
      src: new URL("../vendor/mathjax/es5/tex-mml-chtml.js", scripts),
      onload: () => MathJax.startup.promise.then(resolve),
    }));
  });

  // What a link stands for, as nodes, or nothing.
  async function meaning(link) {
    const [page, name] = link.href.split("#");
    if (page === location.href.split("#")[0]) {
      const target = document.getElementById(decodeURIComponent(name));
      const here = target?.closest("div.math, aside.footnote");
      if (here) return [here.cloneNode(true)];
    }
    const found = (await load())[link.href.slice(root.href.length)];
    if (!found) return null;
    const holder = document.createElement("div");
    holder.innerHTML = found;
    return [...holder.childNodes];
  }

  async function show(link) {
    const nodes = await meaning(link);
    if (!nodes || shownFor !== link) return;
    note ??= document.querySelector("main").appendChild(Object.assign(document.createElement("div"), {
      id: "book-note", role: "tooltip", onpointerenter: () => clearTimeout(timer),
      onpointerleave: hideSoon,
    }));
    note.replaceChildren(...nodes);
    note.querySelectorAll("[id]").forEach((element) => element.removeAttribute("id"));
    note.hidden = false;
    link.setAttribute("aria-describedby", note.id);
    if (note.querySelector(".math")) {
      await formulas();
      await MathJax.typesetPromise?.([note]);
    }
    place(link);
  }

  // Under the link, or above it where there is no room.
  function place(link) {
    const box = link.getClientRects()[0];
    const { width, height } = note.getBoundingClientRect();
    const below = box.bottom + 8 + height < innerHeight;
    const left = Math.min(box.left, document.documentElement.clientWidth - width - 16);
    note.style.left = `${Math.max(left, 16)}px`;
    note.style.top = `${below ? box.bottom + 8 : box.top - height - 8}px`;
  }

  function hide() {
    clearTimeout(timer);
    shownFor?.removeAttribute("aria-describedby");
    shownFor = null;
    if (note) note.hidden = true;
  }

  function hideSoon() {
    if (focused) return;
    clearTimeout(timer);
    timer = setTimeout(hide, REST);
  }

  function showSoon(link, wait) {
    if (link === shownFor) return clearTimeout(timer);
    hide();
    shownFor = link;
    focused = wait === 0;
    timer = setTimeout(show, wait, link);
  }

  const linkOf = ({ target }) => target.closest?.(
    "article a.reference.internal:has(> .std-term), article .bibtex-citation a, " +
    "article a.footnote-reference, article a.reference.internal[href^='#equation-']",
  );

  document.addEventListener("pointerover", (event) => {
    const link = event.pointerType === "mouse" && linkOf(event);
    if (link) showSoon(link, REST);
  });
  document.addEventListener("pointerout", (event) => {
    if (linkOf(event)) hideSoon();
  });
  document.addEventListener("focusin", (event) => {
    const link = linkOf(event);
    if (link) showSoon(link, 0);
    else if (shownFor) hide();
  });
  document.addEventListener("scroll", () => shownFor && note && place(shownFor));
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") hide();
  });
}
