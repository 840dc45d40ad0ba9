// What differs between two texts, line by line.

/** [[sign, line]], where sign is "-", "+" or " "; equal lines far from a change are left out as one ["…", count]. */
export function diff(old, now, around = 3) {
  const [a, b] = [old.split("\n"), now.split("\n")];
  // The usual table of longest common subsequences, without what both begin and end with.
  let begin = 0;
  while (begin < a.length && begin < b.length && a[begin] === b[begin]) begin += 1;
  let end = 0;
  while (end < a.length - begin && end < b.length - begin && a.at(-1 - end) === b.at(-1 - end)) end += 1;
  const [x, y] = [a.slice(begin, a.length - end), b.slice(begin, b.length - end)];
  const width = y.length + 1;
  const common = new Uint32Array((x.length + 1) * width);
  for (let i = x.length - 1; i >= 0; i -= 1) {
    for (let j = y.length - 1; j >= 0; j -= 1) {
      common[i * width + j] = x[i] === y[j]
        ? common[(i + 1) * width + j + 1] + 1
        : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  const lines = a.slice(0, begin).map((line) => [" ", line]);
  let [i, j] = [0, 0];
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) {
      lines.push([" ", x[i]]);
      [i, j] = [i + 1, j + 1];
    } else if (j >= y.length || (i < x.length && common[(i + 1) * width + j] >= common[i * width + j + 1])) {
      lines.push(["-", x[i]]);
      i += 1;
    } else {
      lines.push(["+", y[j]]);
      j += 1;
    }
  }
  lines.push(...a.slice(a.length - end).map((line) => [" ", line]));
  return shortened(lines, around);
}

function shortened(lines, around) {
  const near = lines.map(() => false);
  lines.forEach(([sign], at) => {
    if (sign === " ") return;
    for (let it = Math.max(0, at - around); it <= Math.min(lines.length - 1, at + around); it += 1) near[it] = true;
  });
  const shown = [];
  let left = 0;
  lines.forEach((line, at) => {
    if (near[at]) {
      if (left > 0) shown.push(["…", left]);
      left = 0;
      shown.push(line);
    } else {
      left += 1;
    }
  });
  if (left > 0) shown.push(["…", left]);
  return shown;
}
