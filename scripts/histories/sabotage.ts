/*
 * A checker that finds nothing may be one that cannot find anything. So each protection can be taken out, one at a time, of
 * the statements on their way to PostgreSQL, and then violations must be found.
 */

export const sabotages = ['fence', 'receipt', 'deadline', 'superseded', 'epoch'] as const
/**
 * `fence`: a target takes any number. `receipt`: a target does not mind a job that it has seen. `deadline`: COMMIT does not
 * look at the clock. `superseded`: the control plane does not mind that the target was given to another job. `epoch`: nor
 * that the job was leased again.
 */
export type Sabotage = (typeof sabotages)[number]

export interface Saboteur {
  rewrite(sql: string): string
  afterwards<Row extends object>(sql: string, rows: Row[]): Row[]
  /** The epoch that the request in hand claims. */
  claimed(epoch: number): void
  /** How often something was taken out. */
  readonly done: number
  /** The job that the request in hand has locked, as it was then. */
  readonly locked: Locked
}

const REWRITES: Partial<Record<Sabotage, readonly (readonly [find: string, replace: string])[]>> = {
  fence: [['where f.fence <= excluded.fence', '']],
  receipt: [
    ['from multiboard_sync.receipts where job = $1', 'from multiboard_sync.receipts where job = $1 and false'],
    ['$8, $9, $10, $11)', '$8, $9, $10, $11) on conflict (job) do update set job = excluded.job'],
  ],
  deadline: [['if clock_timestamp() >', 'if false and clock_timestamp() >']],
}

interface Locked {
  epoch?: number
  fence?: number | null
  finished_at?: Date | null
}

export function createSaboteur(sabotage: Sabotage | undefined): Saboteur {
  let done = 0
  let locked: Locked = {}
  let claimed = 0
  const rewrites = (sabotage && REWRITES[sabotage]) ?? []
  return {
    get done() {
      return done
    },
    get locked() {
      return locked
    },
    claimed: (epoch) => {
      claimed = epoch
    },
    rewrite: (sql) => {
      // readReceipt asks for the truth; only the question whether the job may begin is taken out.
      const applied = rewrites.filter(([find]) => sql.includes(find) && !sql.includes('committed_at as at'))
      done += applied.length
      return applied.reduce((text, [find, replace]) => text.replace(find, replace), sql)
    },
    afterwards: (sql, rows) => {
      if (sql.includes('where id = $1 and agent = $2 for update')) {
        locked = rows[0] ?? {}
        if (sabotage === 'epoch') {
          done += 1
          rows = rows.map((row) => ({ ...row, epoch: claimed }))
        }
      }
      if (sabotage === 'superseded' && sql.includes('from multiboard.target_fences where exclusive_key')) {
        done += 1
        return rows.map((row) => ({ ...row, fence: locked.fence }))
      }
      return rows
    },
  }
}
