import { answerJson, Refusal, type Answer, type Call } from './answer.ts'
import { LineFault } from './line-fault.ts'
import { checkImport, readDocument, readId, writeDocument } from './import.ts'
import type { State } from './state.ts'

/** One document by POST or PATCH, answered with what is held of it then. */
export function writeDocumentAlone(state: State, call: Call): Answer {
  const { collection, action } = checkImport(state, call)
  const changes = call.method === 'PATCH'
  try {
    const document = readDocument(call.body)
    if (changes) document.set('id', call.segments[3] ?? '')
    const id = readId(collection, document, action)
    const body = writeDocument(collection, document, id, changes ? 'update' : action)
    return { ...answerJson({}, changes ? 200 : 201), body }
  } catch (error) {
    if (error instanceof LineFault) throw new Refusal(error.code, error.message)
    throw error
  }
}
