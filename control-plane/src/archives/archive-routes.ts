import { agentIdSchema, archiveIdSchema } from '@multiboard-sync/shared/job'
import { archiveSummarySchema } from '@multiboard-sync/shared/manifest'
import { Hono } from 'hono'
import type { ControlPlane } from '../control-plane.ts'
import type { PersonEnv } from '../people/person.ts'
import { describe, pathIds, type Description } from '../web/describe.ts'
import { linkHeader, linkToNext, pageOf, pageQuery } from '../web/page.ts'
import { parseInput } from '../web/read-body.ts'
import { archivePageSchema, archiveUnknown, findArchive, listArchives } from './list-archives.ts'

/** What people may see of archives: names and numbers, as the agents reported them. */
export function archiveRoutes({ database }: ControlPlane) {
  return new Hono<PersonEnv>()
    .get('/archives', describe(listing), async (c) => {
      const { archives, next } = await listArchives(database, parseInput(archivePageSchema, c.req.query()))
      if (next) c.header('link', linkToNext(c.req.url, next))
      return c.json({ archives, next: next ?? null })
    })
    .get('/archives/:id', describe(seeing), async (c) => {
      const id = c.req.param('id')
      const archive = archiveIdSchema.safeParse(id).success ? await findArchive(database, id) : undefined
      if (!archive) throw archiveUnknown('not-found')
      return c.json(archive)
    })
}

const archiveSchema = archiveSummarySchema.extend({ agent: agentIdSchema }).meta({ id: 'Archive' })

const listing = {
  summary: 'Lists archives, newest first',
  tag: 'archives',
  by: 'person',
  query: pageQuery,
  revalidated: true,
  answers: { 200: { what: 'One page.', schema: pageOf('archives', archiveSchema), headers: linkHeader } },
} as const satisfies Description

const seeing = {
  summary: 'Shows an archive',
  tag: 'archives',
  by: 'person',
  path: pathIds.archive,
  revalidated: true,
  answers: { 200: { what: 'The archive, as its agent told of it.', schema: archiveSchema } },
} as const satisfies Description
