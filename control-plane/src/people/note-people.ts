/** Notes that people are here, so that agents poll faster. Written at most every half minute; ends in a condition. */
export const notePeople = `
  update multiboard.people_activity set at = now() where at < now() - interval '30 seconds'
`
