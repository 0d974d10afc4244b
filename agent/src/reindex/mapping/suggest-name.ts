/** " Did you mean `createdAt`?" for a name that is not among those there are; "" where none is near. */
export function suggestName(wanted: string, names: string[]): string {
  const plain = (name: string) => name.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, '')
  const ranked = names
    .map((name) => ({ name, distance: distanceOf(plain(wanted), plain(name)) }))
    .toSorted((a, b) => a.distance - b.distance)
  const [nearest] = ranked
  const isNear = nearest !== undefined && nearest.distance <= Math.max(1, Math.floor(wanted.length / 3))
  return isNear ? ` Did you mean \`${nearest.name}\`?` : ''
}

/** Levenshtein's, over names of at most 63 characters. */
function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
