import type { WriteStream } from 'node:tty'
import type { Progress } from '@multiboard-sync/shared/event'
import { formatBytes, formatCount, formatNumberOf, formatSeconds } from '@multiboard-sync/shared/sizes'
import type { ReportSink } from '../report/reporter.ts'

/** With less than this the rate is that of opening connections. */
const MIN_BYTES_FOR_ETA = 1_000_000

/** One line that says where a job is: phase, table, rows, bytes, rate and what is left. Without line ends. */
export function progressText(progress: Progress): string {
  if (progress.documents !== undefined || progress.waiting_for !== undefined) return searchText(progress)
  const { phase, table, rows, bytes, bytes_total, bytes_per_second, eta_seconds, tables_done, tables_total } = progress
  const share = bytes_total > 0 ? `${Math.min(100, Math.floor((bytes / bytes_total) * 100))} %` : ''
  return [
    phase.padEnd(10),
    tables_total > 0 ? `${tables_done}/${tables_total} tables` : '',
    share,
    rows > 0 ? formatNumberOf(rows, 'row') : '',
    bytes > 0 ? formatBytes(bytes) : '',
    bytes_per_second > 0 ? `${formatBytes(bytes_per_second)}/s` : '',
    eta_seconds === undefined || bytes < MIN_BYTES_FOR_ETA ? '' : `${formatSeconds(eta_seconds)} left`,
    table ?? '',
  ]
    .filter((part) => part !== '')
    .join('  ')
}

/** The same of a collection. While the search server keeps it waiting that is what there is to say. */
function searchText(progress: Progress): string {
  const { phase, table, documents = 0, documents_total: total, documents_per_second: rate = 0 } = progress
  const { eta_seconds: eta, waiting_for: waitingFor } = progress
  return [
    phase.padEnd(10),
    table ?? '',
    total === undefined || total === 0 ? '' : `${Math.min(100, Math.floor((documents / total) * 100))} %`,
    documents > 0 ? formatNumberOf(documents, 'document') : '',
    ...(waitingFor === undefined
      ? [
          rate > 0 ? `${formatCount(Math.round(rate))} documents/s` : '',
          eta === undefined ? '' : `${formatSeconds(eta)} left`,
        ]
      : [`waiting for ${waitingFor}`]),
  ]
    .filter((part) => part !== '')
    .join('  ')
}

/** On a terminal one line that is written over; elsewhere a line a phase, so that a log stays readable. */
export function progressSink(
  stream: NodeJS.WriteStream & Partial<Pick<WriteStream, 'columns'>>,
): ReportSink & { end(): void } {
  const isLive = stream.isTTY
  let isOpen = false
  const end = (): void => {
    if (isOpen) stream.write('\n')
    isOpen = false
  }
  return {
    end,
    phase: (phase) => {
      end()
      if (!isLive) stream.write(`${phase}\n`)
    },
    event: (event) => {
      if (event.level !== 'warning' && event.type !== 'lock.waiting') return
      end()
      stream.write(`${event.type}\n`)
    },
    progress: (progress) => {
      if (!isLive) return
      // CR to the line's start, EL (ECMA-48) to clear what was there.
      stream.write(`\r\u001b[K${progressText(progress).slice(0, (stream.columns ?? 80) - 1)}`)
      isOpen = true
    },
  }
}
