import { viewPolicy } from '../../shared/src/policy-view.ts'
import { policySchema, policySha256 } from '../../shared/src/policy.ts'

const policy = policySchema.parse({
  databases: {
    production: { role: 'source', protected: true },
    t1: { role: 'target' },
    t2: { role: 'target' },
  },
  routes: [
    { from: 'production', to: 't1' },
    { from: 'production', to: 't2' },
  ],
})

/** What every agent of a history says of itself. */
export const agentPolicy = {
  view: viewPolicy(policy),
  said: {
    version: 'history',
    policy: viewPolicy(policy),
    policy_sha256: policySha256(policy),
    trusted_kids: [],
    databases: [],
  },
}
