/** Of an empty list undefined. */
export function median(values: number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]]
  return low === undefined || high === undefined ? undefined : (low + high) / 2
}

/** The middle one and the worst: `4.2 (11)`. */
export function spread(values: (number | undefined)[]): string {
  const known = values.filter((value) => value !== undefined)
  const middle = median(known)
  return middle === undefined ? '-' : `${short(middle)} (${short(Math.max(...known))})`
}

/** Two digits are all that a measurement is good for. */
export function short(value: number): string {
  return value >= 10 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toFixed(2)
}

/** Columns as wide as their widest cell; the first one is flush left, the others right. */
export function formatTable(rows: string[][]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
