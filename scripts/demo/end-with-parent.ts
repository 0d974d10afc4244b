/*
 * Preloaded into the agent that the demo starts. The pipe between the two closes when the demo ends, by kill -9 too:
 * then nobody is left who could end this agent, so it ends itself, at once.
 */
process.once('disconnect', () => process.exit(1))
// The pipe alone must not keep an agent alive that has finished.
process.channel?.unref()
