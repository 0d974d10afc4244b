import { archiveIdSchema } from '@multiboard-sync/shared/job'
import { Hono } from 'hono'
import type { ControlPlane } from '../control-plane.ts'
import type { PersonEnv } from '../people/person.ts'
import { linkToNext } from '../web/page.ts'
import { parseInput } from '../web/read-body.ts'
import { archivePageSchema, archiveUnknown, findArchive, listArchives } from './list-archives.ts'

/** What people may see of archives: names and numbers, as the agents reported them. */
export function archiveRoutes({ database }: ControlPlane) {
  return new Hono<PersonEnv>()
    .get('/archives', async (c) => {
      const { archives, next } = await listArchives(database, parseInput(archivePageSchema, c.req.query()))
      if (next) c.header('link', linkToNext(c.req.url, next))
      return c.json({ archives, next: next ?? null })
    })
    .get('/archives/:id', async (c) => {
      const id = c.req.param('id')
      const archive = archiveIdSchema.safeParse(id).success ? await findArchive(database, id) : undefined
      if (!archive) throw archiveUnknown('not-found')
      return c.json(archive)
    })
}
