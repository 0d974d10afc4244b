import type { Session } from '../postgres/session.ts'

/** Few round trips, and few locks in what is one transaction unless the caller has begun one. */
const STATEMENTS_A_MESSAGE = 100

/** Runs the statements in their order, many in a message. Outside a transaction each message is one of its own. */
export async function runTogether(session: Session, statements: string[]): Promise<void> {
  for (let at = 0; at < statements.length; at += STATEMENTS_A_MESSAGE) {
    await session.run(statements.slice(at, at + STATEMENTS_A_MESSAGE).join(';\n'))
  }
}
