import { HubError } from './error.ts';
import type { HubSettings } from './settings.ts';

/** What the hub's refusal means, and what to do about it. `what`: the model, or a file of it. */
export function refusal(response: Response, id: string, what: string, settings: HubSettings): HubError {
  const { status } = response;
  const code = response.headers.get('x-error-code');
  const page = `${settings.endpoint}/${id}`;
  const login = settings.token === undefined ? 'Set HF_TOKEN where it needs a login.' : 'The token in use gives no access to it.';
  const fail = (message: string, hint?: string) => new HubError(`${what}: ${message}`, { status, ...(hint !== undefined && { hint }) });
  if (code === 'GatedRepo') return fail(`access must be asked for (${status})`, `Ask on its page ${page}. ${login}`);
  if (code === 'RevisionNotFound') return fail(`revision must be one of its branches, tags or commits, got ${settings.revision}`);
  if (code === 'RepoNotFound' || status === 401)
    return fail(`no such model on ${new URL(settings.endpoint).host}, or a private one (${status})`, `Is the name right? ${login}`);
  if (status === 403) return fail('access is refused (403)', `Its page: ${page}. ${login}`);
  if (status === 404) return fail('not found (404)');
  if (status === 429) return fail('too many requests (429)', 'Wait a few minutes, or set HF_TOKEN.');
  return fail(`the hub answered ${status}`);
}
