import { expect, test } from 'vitest'
import { metricsText } from './metrics-text.ts'

test('metrics are written as Prometheus reads them', () => {
  const text = metricsText([
    { name: 'jobs', help: 'Jobs\nby \\ state.', values: [{ labels: { kind: 'sync', state: 'a"b\\c\nd' }, value: 2 }] },
    { name: 'empty', help: 'None.', values: [] },
    { name: 'plain', help: 'One.', values: [{ value: 1.5 }] },
  ])
  expect(text).toBe(
    [
      '# HELP multiboard_control_plane_jobs Jobs\\nby \\\\ state.',
      '# TYPE multiboard_control_plane_jobs gauge',
      'multiboard_control_plane_jobs{kind="sync",state="a\\"b\\\\c\\nd"} 2',
      '# HELP multiboard_control_plane_empty None.',
      '# TYPE multiboard_control_plane_empty gauge',
      '# HELP multiboard_control_plane_plain One.',
      '# TYPE multiboard_control_plane_plain gauge',
      'multiboard_control_plane_plain 1.5',
      '',
    ].join('\n'),
  )
})
