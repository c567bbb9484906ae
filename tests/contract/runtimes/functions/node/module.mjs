import { sep } from 'node:path';
export const handler = async () => `module ${sep}`;
export default { other: async () => 'default' };
