"""What a constraint cannot say: versions never change, weights sum to 10,000 at commit."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION functions_refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% rows are immutable', TG_TABLE_NAME USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER version_immutable BEFORE UPDATE ON functions_functionversion
    FOR EACH ROW EXECUTE FUNCTION functions_refuse_update();

CREATE TRIGGER artifact_immutable
    BEFORE UPDATE OF sha256, size_bytes, unpacked_bytes, files, created_at ON functions_artifact
    FOR EACH ROW EXECUTE FUNCTION functions_refuse_update();

CREATE FUNCTION functions_check_alias(checked bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    owner bigint;
    total bigint;
    strangers bigint;
BEGIN
    SELECT function_id INTO owner FROM functions_alias WHERE id = checked;
    IF owner IS NULL THEN
        RETURN;  -- deleted in this transaction
    END IF;
    SELECT coalesce(sum(t.weight_bps), 0), count(*) FILTER (WHERE v.function_id <> owner)
        INTO total, strangers
        FROM functions_aliastarget t JOIN functions_functionversion v ON v.id = t.version_id
        WHERE t.alias_id = checked;
    IF total <> 10000 OR strangers > 0 THEN
        RAISE EXCEPTION 'alias %: weights sum to % of 10000, % of another function',
            checked, total, strangers USING ERRCODE = 'check_violation';
    END IF;
END $$;

CREATE FUNCTION functions_alias_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM functions_check_alias(NEW.id);
    RETURN NULL;
END $$;

CREATE FUNCTION functions_alias_target_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM functions_check_alias(OLD.alias_id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM functions_check_alias(NEW.alias_id);
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER alias_weights AFTER INSERT OR UPDATE ON functions_alias
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION functions_alias_changed();

CREATE CONSTRAINT TRIGGER alias_target_weights
    AFTER INSERT OR UPDATE OR DELETE ON functions_aliastarget
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION functions_alias_target_changed();
"""

BACKWARD = """
DROP TRIGGER alias_target_weights ON functions_aliastarget;
DROP TRIGGER alias_weights ON functions_alias;
DROP TRIGGER artifact_immutable ON functions_artifact;
DROP TRIGGER version_immutable ON functions_functionversion;
DROP FUNCTION functions_alias_target_changed();
DROP FUNCTION functions_alias_changed();
DROP FUNCTION functions_check_alias(bigint);
DROP FUNCTION functions_refuse_update();
"""


class Migration(migrations.Migration):
    dependencies = [("functions", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
