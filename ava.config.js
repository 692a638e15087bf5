// test/long/ holds what takes minutes: run by `npm run test:all`, or by naming a file of it.
const withLong = process.env.HEDDLE_TEST === 'all' || process.argv.some((arg) => arg.includes('test/long'));

export default {
  files: ['test/**/*.test.ts', ...(withLong ? [] : ['!test/long/**'])],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=tsx'],
  ...(process.env.HEDDLE_TEST_DEVICE && { require: ['./test/run/devices.ts'] }), // every test then computes there
  workerThreads: false, // tsx on Node 20 does not reach worker threads
  timeout: withLong ? '20m' : '2m',
};
