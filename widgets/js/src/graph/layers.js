// Boxes in layers, for graphs that are too large for dagre in a frame's time. Pure; the still picture has the same idea in Python.

/**
 * Columns by dependency (`along` is "x" or "y"), in each column near to what a box is joined with.
 * `size`: node to {width, height}; `edges`: [{from, to}]. Returns {boxes, width, height}.
 */
export function layers(size, edges, direction, gap, between, margin) {
  const nodes = [...size.keys()];
  const joins = edges.filter(({ from, to }) => from !== to);
  const needs = new Map(nodes.map((node) => [node, []]));
  const near = new Map(nodes.map((node) => [node, []]));
  for (const { from, to } of joins) {
    needs.get(to).push(from);
    near.get(from).push(to);
    near.get(to).push(from);
  }
  const rank = new Map();
  const under = new Set();
  for (const root of nodes) {
    const stack = [root];
    while (stack.length) {
      const node = stack.at(-1);
      if (rank.has(node)) {
        stack.pop();
        continue;
      }
      under.add(node);
      const open = needs.get(node).find((need) => !rank.has(need) && !under.has(need));
      if (open !== undefined) stack.push(open);
      else {
        rank.set(node, Math.max(0, ...needs.get(node).filter((need) => rank.has(need)).map((need) => rank.get(need) + 1)));
        under.delete(node);
        stack.pop();
      }
    }
  }
  const columns = [];
  for (const node of nodes) (columns[rank.get(node)] ??= []).push(node);
  const place = new Map();
  const put = (column) => column.forEach((node, i) => place.set(node, (i + 0.5) / column.length));
  columns.forEach(put);
  for (const sweep of [columns, [...columns].reverse(), columns, [...columns].reverse()]) {
    for (const column of sweep) {
      const middle = new Map(
        column.map((node) => {
          const others = near.get(node);
          return [node, others.length ? others.reduce((sum, other) => sum + place.get(other), 0) / others.length : place.get(node)];
        }),
      );
      column.sort((a, b) => middle.get(a) - middle.get(b));
      put(column);
    }
  }
  const [long, wide] = direction === "LR" ? ["width", "height"] : ["height", "width"];
  const breadth = columns.map((column) => column.reduce((sum, node) => sum + size.get(node)[wide] + gap, -gap));
  const widest = Math.max(...breadth, 0);
  const boxes = new Map();
  let along = margin;
  columns.forEach((column, i) => {
    let across = margin + (widest - breadth[i]) / 2;
    const deep = Math.max(...column.map((node) => size.get(node)[long]));
    for (const node of column) {
      const { width, height } = size.get(node);
      boxes.set(node, direction === "LR" ? { x: along, y: across, width, height } : { x: across, y: along, width, height });
      across += size.get(node)[wide] + gap;
    }
    along += deep + between;
  });
  const length = along - between + margin;
  const other = widest + 2 * margin;
  return { boxes, width: direction === "LR" ? length : other, height: direction === "LR" ? other : length };
}
