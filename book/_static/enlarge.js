// A figure as large as the window, and larger: a button at each figure opens it in a
// dialog, where it is scrolled by touch, pointer or arrow keys. Escape puts it back.

{
  const STEP = 1.5; // by which the buttons make it larger
  const MOST = 8;
  const FIGURE = "svg[role=img]";

  const make = (kind, properties) => Object.assign(document.createElement(kind), properties);
  const button = (properties, press) => {
    const made = make("button", { type: "button", ...properties });
    made.addEventListener("click", press);
    return made;
  };
  const figuresOf = (place) => [...place.querySelectorAll(FIGURE)];

  const dialog = make("dialog", { id: "enlarged" });
  const room = make("div", { className: "enlarged-room", tabIndex: 0, autofocus: true });
  let put = []; // the figures in the dialog: [the figure, what keeps its place]
  let zoom = 1; // 1: all of it can be seen

  function fit() {
    for (const [figure] of put) {
      const { width, height } = figure.viewBox.baseVal;
      const all = Math.min(room.clientWidth, (room.clientHeight * width) / height);
      figure.style.setProperty("--enlarged-width", `${Math.floor(all * zoom)}px`);
    }
  }

  // What was in the middle stays there.
  function grow(by) {
    const middle = [
      (room.scrollLeft + room.clientWidth / 2) / room.scrollWidth,
      (room.scrollTop + room.clientHeight / 2) / room.scrollHeight,
    ];
    zoom = Math.min(MOST, Math.max(1, zoom * by));
    fit();
    room.scrollLeft = middle[0] * room.scrollWidth - room.clientWidth / 2;
    room.scrollTop = middle[1] * room.scrollHeight - room.clientHeight / 2;
  }

  // The figure itself and no copy, as its parts refer to each other by their names.
  function open(place) {
    put = figuresOf(place).map((figure) => {
      const kept = make("div", { hidden: true });
      figure.replaceWith(kept);
      room.append(figure);
      return [figure, kept];
    });
    zoom = 1;
    dialog.showModal();
    fit();
  }

  function close() {
    for (const [figure, kept] of put) kept.replaceWith(figure);
    put = [];
  }

  function build() {
    const bar = make("div", { className: "enlarged-bar" });
    bar.append(
      button({ textContent: "Smaller" }, () => grow(1 / STEP)),
      button({ textContent: "Larger" }, () => grow(STEP)),
      button({ textContent: "Close" }, () => dialog.close()),
    );
    dialog.setAttribute("aria-label", "The figure, enlarged");
    room.setAttribute("role", "group");
    room.setAttribute("aria-label", "Arrow keys move over the figure, + and - change its size");
    dialog.append(bar, room);
    dialog.addEventListener("close", close);
    dialog.addEventListener("keydown", (event) => {
      event.stopPropagation(); // the arrow keys would turn the page
      if ("+=".includes(event.key)) grow(STEP);
      if (event.key === "-") grow(1 / STEP);
    });
    addEventListener("resize", fit);
    document.querySelector("article").append(dialog);
  }

  function start() {
    const places = [...document.querySelectorAll("article .figure-place")];
    const drawn = places.filter((place) => figuresOf(place).length);
    if (!drawn.length) return;
    build();
    for (const place of drawn) {
      const opener = button({ textContent: "Enlarge", className: "enlarge" }, () => open(place));
      const [about] = figuresOf(place)[0].getAttribute("aria-label").split(/[.;] |[。；]/);
      opener.setAttribute("aria-label", `Enlarge: ${about}`);
      place.append(opener);
    }
  }

  document.addEventListener("DOMContentLoaded", start);
}
