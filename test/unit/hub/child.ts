// Fetches a model in a process of its own: child.ts ID, settings from the environment. Prints the folder.
import { fetchModel } from '../../../lib/hub/index.ts';

console.log(await fetchModel(process.argv[2] as string));
