console.log('loading');
exports.handler = async () => 'loaded';
