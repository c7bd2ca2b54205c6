/*
 * The class data archive (AppCDS): classes parsed and linked when the image is made, mapped when it boots.
 *
 * The archive is only good for the very files it was made from, at the paths where it saw them, so it is
 * dumped with the staging directory as root directory, by the image's own launcher.
 */
#ifndef JAVA_LAUNCHER_HOST_CDS_H
#define JAVA_LAUNCHER_HOST_CDS_H

#include "java-launcher/host/app.h"
#include "java-launcher/host/stage.h"

#define CDS_ARCHIVE "/moka/classes.jsa"

/* Dumps CDS_ARCHIVE in the stage, which must be complete. False (and why, with --verbose) when it does not
 * work. */
bool cds_dump(const struct stage *s, const struct app *a);

#endif
