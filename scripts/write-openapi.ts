import { writeFile } from 'node:fs/promises'
import { makeDocument } from './openapi/make-document.ts'

/** `pnpm openapi`: writes control-plane/openapi.json from the routes. */
await writeFile(new URL('../control-plane/openapi.json', import.meta.url), await makeDocument())
