import type { Session } from '../postgres/session.ts'

/** A polite rollback where the connection still stands; where it does not, the server has rolled back already. */
export async function rollBack(session: Session): Promise<void> {
  try {
    await session.run('rollback')
  } catch {
    session.destroy()
  }
}
