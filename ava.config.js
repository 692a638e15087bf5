export default {
  files: ['test/**/*.test.ts'],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=tsx'],
  workerThreads: false, // tsx on Node 20 does not reach worker threads
  timeout: '2m',
};
