exports.handler = async () => 'from the package';
