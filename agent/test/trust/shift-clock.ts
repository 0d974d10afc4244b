import { readFileSync } from 'node:fs'

/*
 * Preloaded into an agent: at each SIGUSR2 its time of day jumps to be so many milliseconds off as CLOCK_SHIFT_FILE says.
 * Timers and the monotonic clock go on as before, as they do when somebody sets a machine's clock.
 */

const TrueDate = Date
let shiftMs = 0

class ShiftedDate extends TrueDate {
  constructor(...args: unknown[]) {
    if (args.length === 0) super(TrueDate.now() + shiftMs)
    else super(...(args as [number]))
  }
  static override now(): number {
    return TrueDate.now() + shiftMs
  }
}
globalThis.Date = ShiftedDate as DateConstructor

process.on('SIGUSR2', () => {
  shiftMs = Number(readFileSync(process.env['CLOCK_SHIFT_FILE'] ?? '', 'utf8'))
})
