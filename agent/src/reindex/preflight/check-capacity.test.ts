import { describe, expect, it } from 'vitest'
import { checkCapacity } from './check-capacity.ts'

const roomy = { memoryTotalBytes: 8e9, memoryUsedBytes: 1e9, diskTotalBytes: 100e9, diskUsedBytes: 10e9 }

describe('capacity', () => {
  it('is not spoken of where everything fits', () => {
    expect(checkCapacity(roomy, [{ alias: 'components', jsonBytes: 400e6 }])).toEqual({ findings: [], notices: [] })
  })

  it('is a finding when not even half of the estimate fits', () => {
    const { findings } = checkCapacity({ ...roomy, memoryUsedBytes: 7.9e9 }, [
      { alias: 'components', jsonBytes: 400e6 },
    ])
    expect(findings).toHaveLength(1)
    expect(findings[0]).toMatch(/^components: .*800 MB of memory.*100 MB are free/)
  })

  it('is a notice when the estimate is larger than the room, but may be wrong', () => {
    const tight = { ...roomy, diskUsedBytes: 99.4e9 }
    const { findings, notices } = checkCapacity(tight, [{ alias: 'components', jsonBytes: 400e6 }])
    expect(findings).toEqual([])
    expect(notices).toEqual([expect.stringMatching(/^disk may become tight/)])
  })

  it('counts all new generations together, because the live ones stay beside them', () => {
    const one = { jsonBytes: 2e9 }
    const all = [
      { alias: 'a', ...one },
      { alias: 'b', ...one },
    ]
    expect(checkCapacity(roomy, all.slice(0, 1)).notices).toEqual([])
    expect(checkCapacity(roomy, all).notices).toEqual([expect.stringMatching(/^memory may become tight/)])
  })

  it('is unknown where a host tells no size', () => {
    const mute = { memoryTotalBytes: 0, memoryUsedBytes: 0, diskTotalBytes: 0, diskUsedBytes: 0 }
    expect(checkCapacity(mute, [{ alias: 'components', jsonBytes: 1e12 }])).toEqual({ findings: [], notices: [] })
  })
})
