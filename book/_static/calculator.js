// What training costs, with sliders: the closed forms of src/rwkv_book/cost.py, which
// tests/test_calculator.py holds them to. Choices and words come from calculator.py, in
// the page. A script and no module, so that it runs in a page opened from a file.

const cost = {
  trainingFlops: (parameters, tokens) => 6 * parameters * tokens,
  gpuHours: (flops, flopsPerSecond, utilisation) =>
    flops / (flopsPerSecond * utilisation) / 3600,
  dollars: (hours, dollarsPerHour) => hours * dollarsPerHour,
};

// Three digits: 22,400 and 0.79.
cost.written = (number) =>
  Number(number.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 20 });

// Three digits and a power of ten: 2.52 × 10²².
cost.scientific = (number) => {
  const [digits, power] = number.toExponential(2).split("e+");
  return `${digits} × 10${power.replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])}`;
};

// All that the rows of the answer may name, in words.
cost.answers = ({ parameters, tokens, peak, price, efficiency, together }) => {
  const flops = cost.trainingFlops(parameters, tokens);
  const ideal = cost.gpuHours(flops, peak, 1);
  const hours = cost.gpuHours(flops, peak, efficiency);
  return {
    flops: cost.scientific(flops),
    ideal: cost.written(ideal),
    hours: cost.written(hours),
    days: cost.written(hours / 24 / together),
    dollars: cost.written(cost.dollars(hours, price)),
  };
};

cost.filled = (text, answers) => text.replace(/\{(\w+)\}/g, (_, name) => answers[name]);

// Put sliders, and the rows of the answer, in place of the sentence in `root`.
cost.mount = (root, number) => {
  const { controls, rows, together } = JSON.parse(root.dataset.calculator);
  const make = (kind, parent, properties = {}) =>
    parent.appendChild(Object.assign(document.createElement(kind), properties));
  root.replaceChildren();
  const fields = make("div", root, { className: "calculator-fields" });
  const status = make("div", root, { role: "status" });
  status.setAttribute("aria-live", "polite");
  const list = make("dl", status);
  const cells = rows.map(([name, text]) => {
    make("dt", list, { textContent: name });
    return [text, make("dd", list)];
  });
  const chosen = { together };

  const show = () => {
    const answers = cost.answers(chosen);
    for (const [text, cell] of cells) cell.textContent = cost.filled(text, answers);
  };

  const slider = (field, id, { options, start }) => {
    const said = make("span", field.label, { className: "calculator-value" });
    const input = make("input", field, { id, type: "range", min: 0, step: 1 });
    input.max = options.length - 1;
    input.value = start;
    return [input, (text) => {
      said.textContent = text;
      input.setAttribute("aria-valuetext", text);
    }];
  };

  const menu = (field, id, { options, start }) => {
    const select = make("select", field, { id });
    for (const [textContent] of options) make("option", select, { textContent });
    select.selectedIndex = start;
    return [select, () => {}];
  };

  controls.forEach((control, position) => {
    const id = `calculator-${number}-${position}`;
    const field = make("div", fields);
    field.label = make("label", field, { htmlFor: id, textContent: control.label });
    const [input, say] = (control.menu ? menu : slider)(field, id, control);
    const choose = () => {
      const [text, value] = control.options[control.menu ? input.selectedIndex : input.value];
      chosen[control.name] = value;
      say(text);
    };
    input.addEventListener("input", () => {
      choose();
      show();
    });
    choose();
  });
  show();
};

if (typeof document !== "undefined") {
  document.querySelectorAll("[data-calculator]").forEach(cost.mount);
}
