import { defineConfig } from 'vitest/config';

// biome-ignore lint/style/noDefaultExport: vitest reads the default export
export default defineConfig({
  test: {
    include: ['test/chaos/*.chaos.ts'],
    // What is said is said at once: it takes minutes.
    disableConsoleIntercept: true,
  },
});
