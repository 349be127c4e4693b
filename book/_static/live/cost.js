// The closed forms of src/rwkv_book/cost, which tests/show/test_calculator.py holds them
// to, and the two ways in which the calculator writes a number.

export const trainingFlops = (parameters, tokens) => 6 * parameters * tokens;

export const gpuHours = (flops, flopsPerSecond, utilisation) =>
  flops / (flopsPerSecond * utilisation) / 3600;

export const dollars = (hours, dollarsPerHour) => hours * dollarsPerHour;

// Three digits: 22,400 and 0.79.
export const written = (number) =>
  Number(number.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 20 });

// Three digits and a power of ten: 2.52 × 10²².
export function scientific(number) {
  const [digits, power] = number.toExponential(2).split("e+");
  return `${digits} × 10${power.replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])}`;
}

// All that the rows of the answer may name, in words.
export function answers({ parameters, tokens, peak, price, efficiency }, together) {
  const flops = trainingFlops(parameters, tokens);
  const hours = gpuHours(flops, peak, efficiency);
  return {
    flops: scientific(flops),
    ideal: written(gpuHours(flops, peak, 1)),
    hours: written(hours),
    days: written(hours / 24 / together),
    dollars: written(dollars(hours, price)),
  };
}
